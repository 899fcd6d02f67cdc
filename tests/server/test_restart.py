"""What a server that was stopped or killed leaves: every answer it gave, in a trajectory, once; and nothing else."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cwm_env.client import RemoteEnv
from cwm_env.trajectories import TrajectoryStore
from tests.server.conftest import Server, Start


def stored(server: Server) -> dict[str, Any]:
    """Trajectories by their episode; each is there once."""
    found = list(TrajectoryStore(server.state / "trajectories.jsonl"))
    assert len({one.episode for one in found}) == len(found)
    return {one.episode: one for one in found}


def test_without_a_keeper_a_kill_loses_the_episode_honestly_and_every_answer_is_kept(
    start_server: Start, small_task: Path
) -> None:
    server = start_server("--keep", "0")
    ended, cut = server.begin(small_task), server.begin(small_task, request_id="mine")
    server.step(ended, "submit", "a")
    answer = server.step(cut, "echo one", "1")
    running = threading.Thread(target=lambda: _swallow(server, cut))
    running.start()
    time.sleep(0.3)
    traces = server.traces()
    assert traces.processes and traces.leases
    server.kill()
    running.join()
    server.start()
    assert not traces.left()
    assert server.step(cut, "echo one", "1") == answer
    status, problem = server.ask("POST", f"/episodes/{cut}/step", {"action": "sleep 60", "step_id": "2"})
    assert (status, problem["kind"]) == (410, "lost")
    state = server.ask("GET", f"/episodes/{cut}")[1]
    assert (state["state"], state["failure"], state["steps"]) == ("lost", "lost", 1)
    assert server.begin(small_task, request_id="mine") == cut
    trajectories = stored(server)
    assert set(trajectories) == {ended, cut}
    assert (trajectories[cut].failure, trajectories[cut].reward) == ("lost", None)
    assert [step.action for step in trajectories[cut].steps] == ["echo one"]
    assert server.ask("GET", f"/episodes/{cut}/trajectory")[1]["steps"][0]["observation"] == answer["observation"]
    server.kill()
    server.start()
    assert set(stored(server)) == {ended, cut}


def _swallow(server: Server, episode: str) -> None:
    with contextlib.suppress(OSError):
        server.ask("POST", f"/episodes/{episode}/step", {"action": "sleep 60", "step_id": "2"})


def test_a_server_killed_between_storing_and_saying_so_stores_nothing_twice(
    start_server: Start, small_task: Path
) -> None:
    server = start_server()
    episode = server.begin(small_task)
    server.step(episode, "submit", "a")
    server.kill()
    journal = server.state / "journals" / f"{episode}.jsonl"
    whole = journal.read_bytes()
    assert whole.endswith(b'{"stored":true}\n')
    journal.write_bytes(whole.removesuffix(b'{"stored":true}\n'))
    with (server.state / "trajectories.jsonl").open("ab") as store:
        store.write(b'{"format":1,"task_id"')  # the next one was being written
    server.start()
    assert set(stored(server)) == {episode}


def test_an_environment_whose_episode_was_lost_is_truncated_and_goes_on_with_the_next(
    start_server: Start, small_task: Path
) -> None:
    server = start_server("--keep", "0")
    env = RemoteEnv(small_task, url=server.url)
    env.reset()
    env.step("echo one")
    server.kill()
    threading.Timer(0.5, server.start).start()
    _, reward, terminated, truncated, info = env.step("echo two")
    assert (reward, terminated, truncated, info["failure"], info["grade"]) == (0.0, False, True, "lost", None)
    env.reset()
    assert env.step("echo again")[0].startswith("again\n")
    env.close()


def test_asked_to_stop_it_finishes_what_runs_refuses_what_is_new_and_records_all(
    start_server: Start, small_task: Path
) -> None:
    server = start_server()
    busy, idle = server.begin(small_task), server.begin(small_task)
    answers: list[Any] = []
    running = threading.Thread(target=lambda: answers.append(server.step(busy, "sleep 1.5; echo done", "1")))
    running.start()
    time.sleep(0.5)
    traces = server.traces()
    server.process.terminate()
    time.sleep(0.3)
    status, problem = server.ask("POST", "/episodes", {"task": str(small_task)})
    assert (status, problem["kind"]) == (503, "draining")
    assert server.ask("GET", "/readyz")[0] == 503
    assert server.ask("POST", f"/episodes/{idle}/step", {"action": "true", "step_id": "1"})[0] == 503
    running.join()
    assert answers[0]["observation"].startswith("done\n")
    assert server.stop() == 0
    trajectories = stored(server)
    assert {one: len(trajectories[one].steps) for one in (busy, idle)} == {busy: 1, idle: 0}
    assert {one.failure for one in trajectories.values()} == {"shutdown"}
    assert not traces.left(0)


def test_a_step_that_outlasts_the_grace_is_stopped_and_recorded_as_such(start_server: Start, small_task: Path) -> None:
    server = start_server("--grace", "0.5")
    episode = server.begin(small_task)
    answers: list[Any] = []
    running = threading.Thread(target=lambda: answers.append(server.step(episode, "sleep 15", "1")))
    running.start()
    time.sleep(0.5)
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 10
    running.join()
    assert answers[0]["info"]["failure"] == "shutdown" and answers[0]["reward"] is None
    assert stored(server)[episode].failure == "shutdown"


def test_two_servers_do_not_share_a_state(start_server: Start) -> None:
    server = start_server()
    command = [sys.executable, "-m", "cwm_env", "serve", "--port", "0", "--state", str(server.state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode != 0 and "another server uses" in done.stderr
