// An episode from JavaScript: node client.mjs URL TASK [TOKEN]
// A step has an id of ours, so it may be sent again until its answer comes: it never runs twice.
const [url, task, token] = process.argv.slice(2);
const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };

async function ask(method, path, body) {
  for (let pause = 100; ; pause = Math.min(2 * pause, 5000)) {
    const answer = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) }).catch(() => null);
    if (answer?.ok) return answer.status === 204 ? null : answer.json();
    const problem = answer && (await answer.json());
    if (answer && ![429, 502, 503, 504].includes(answer.status)) throw new Error(`${problem.detail}: ${problem.remedy}`);
    await new Promise((done) => setTimeout(done, (answer?.headers.get("Retry-After") ?? 0) * 1000 || pause));
  }
}

const { episode_id, observation } = await ask("POST", "/episodes", { task, request_id: crypto.randomUUID() });
console.log(observation);
const actions = ["ls", "git log --oneline | head -3", "submit"]; // a policy would read the observations
for (const [number, action] of actions.entries()) {
  const step = await ask("POST", `/episodes/${episode_id}/step`, { action, step_id: String(number) });
  console.log(`$ ${action}\n${step.observation}`);
  if (step.terminated || step.truncated) {
    console.log("reward", step.reward, step.info.grade?.outcome ?? step.info.failure);
    break;
  }
}
