"""Live episodes outlive a server that is killed: they go on under the next, and nothing runs twice or stays behind."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from cwm_env.client import RemoteEnv
from cwm_env.server.ledger import Ledger
from cwm_env.session.resume import MISSED
from cwm_env.trajectories import TrajectoryStore
from tests.server.conftest import Server, Start

COUNT = "echo x >> /tmp/count; wc -l < /tmp/count"


def test_after_a_kill_an_episode_goes_on_with_its_shell_its_files_and_its_budget(
    start_server: Start, small_task: Path
) -> None:
    server = start_server()
    episode = server.begin(small_task, request_id="mine")
    fresh = server.begin(small_task)
    first = server.step(episode, "cd /tmp; x=5; sleep 600 & false", "1")
    traces = server.traces()
    for number, kill in enumerate((server.kill, server.kill), 2):
        kill()
        server.start()
        assert server.step(episode, "cd /tmp; x=5; sleep 600 & false", "1") == first
        turns = f"{5 - number} turn{'s' if number < 4 else ''} left"
        assert server.step(episode, "echo $? $x $(kill -0 $! && echo alive); (exit 1)", str(number))["observation"] == (
            f"1 5 alive\n[exit code 1; /tmp; {turns}]"
        )
    assert server.begin(small_task, request_id="mine") == episode
    assert server.step(fresh, "pwd", "1")["observation"].startswith("/repo\n")
    assert server.step(episode, "submit", "9")["terminated"]
    assert server.resumed() == 2
    server.ask("DELETE", f"/episodes/{fresh}")
    assert server.stop() == 0
    assert traces.left() == []
    stored = {one.episode: one for one in TrajectoryStore(server.state / "trajectories.jsonl")}
    assert [len(stored[one].steps) for one in (episode, fresh)] == [4, 1]
    assert stored[episode].failure is None


def test_a_step_that_ran_during_the_kill_runs_once_and_is_answered_whoever_asks(
    start_server: Start, small_task: Path
) -> None:
    server = start_server()
    silent, noisy, long = (server.begin(small_task) for _ in range(3))
    actions = {
        silent: f"sleep 2; {COUNT}; (exit 3)",
        noisy: f"echo early; sleep 2; {COUNT}; cd /etc",
        long: f"sleep 2; {COUNT}; : {'x' * 10_000}",
    }
    asking = [threading.Thread(target=_swallow, args=(server, one, action)) for one, action in actions.items()]
    for thread in asking:
        thread.start()
    time.sleep(1)
    server.kill()
    for thread in asking:
        thread.join()
    server.start()
    answers = {one: server.step(one, action, "1") for one, action in actions.items() if one != noisy}
    assert answers[silent]["observation"].startswith("1\n[exit code 3; /repo")
    assert answers[long]["observation"].startswith("1\n[exit code 0; /repo")
    # Whoever never asks again finds it done all the same.
    deadline = time.monotonic() + 30
    while (status := server.ask("GET", f"/episodes/{noisy}")[1])["steps"] < 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert status["state"] == "ready"
    told = server.step(noisy, actions[noisy], "1")["observation"]
    assert told.startswith(f"{MISSED}1\n[exit code 0; /etc")
    for one in actions:
        assert server.step(one, COUNT, "2")["observation"].startswith("2\n")


def _swallow(server: Server, episode: str, action: str) -> None:
    with contextlib.suppress(OSError):
        server.ask("POST", f"/episodes/{episode}/step", {"action": action, "step_id": "1"})


def test_a_client_does_not_notice_that_its_server_was_killed(start_server: Start, small_task: Path) -> None:
    server = start_server()
    env = RemoteEnv(small_task, url=server.url)
    env.reset()
    env.step("x=7")
    server.kill()
    threading.Timer(0.5, server.start).start()
    observation, _, _, truncated, _ = env.step("echo $x")
    assert observation.startswith("7\n") and not truncated
    env.close()


def test_where_no_server_comes_back_in_time_everything_ends_and_the_next_one_says_lost(
    start_server: Start, small_task: Path
) -> None:
    server = start_server("--keep", "1")
    episode = server.begin(small_task)
    server.step(episode, "true", "1")
    traces = server.traces()
    server.kill()
    assert [one for one in traces.left(20) if not one.startswith(("lease", "/"))] == []
    server.start()
    assert traces.left() == []
    assert server.ask("GET", f"/episodes/{episode}")[1]["state"] == "lost"


def test_a_lease_that_runs_out_while_no_server_is_there_has_run_out(start_server: Start, small_task: Path) -> None:
    server = start_server("--lease", "2")
    episode = server.begin(small_task)
    server.kill()
    time.sleep(2)
    server.start()
    deadline = time.monotonic() + 20
    while server.ask("GET", "/episodes")[1] and time.monotonic() < deadline:
        time.sleep(0.05)
    (stored,) = TrajectoryStore(server.state / "trajectories.jsonl")
    assert (stored.episode, stored.failure) == (episode, "abandoned")


def test_a_keeper_that_dies_is_replaced_by_one_that_holds_everything(start_server: Start, small_task: Path) -> None:
    server = start_server()
    episodes = [server.begin(small_task) for _ in range(3)]
    answer = server.step(episodes[0], "echo one; x=kept", "1")
    server.step(episodes[1], "exec bash", "1")  # whose shell is another one by now
    dead = server.begin(small_task)
    server.ask("DELETE", f"/episodes/{dead}/sandbox")  # of which nothing can be held any more
    for lost in (1, 2):
        os.kill(server.keeper, signal.SIGKILL)
        other = server.begin(small_task)  # which is nobody's matter but the server's
        assert server.step(other, "echo two", "1")["observation"].startswith("two\n")
        server.ask("DELETE", f"/episodes/{other}")
        server.await_keeper()
        assert server.log.read_text().count("the keeper is gone") == lost
        assert b"cwm_env_keeper_lost_total %d.0" % lost in server.ask("GET", "/metrics")[1]
    episodes.append(server.begin(small_task))
    traces = server.traces()
    server.kill()
    server.start()
    assert server.resumed() == 4
    assert server.step(episodes[0], "echo one; x=kept", "1") == answer
    assert server.step(episodes[0], "echo $x", "2")["observation"].startswith("kept\n")
    for episode in episodes:
        assert server.step(episode, "echo on", "9")["observation"].startswith("on\n")
    assert server.stop() == 0
    assert traces.left() == []


def test_until_there_is_another_keeper_a_kill_loses_the_episodes_honestly(
    start_server: Start, small_task: Path
) -> None:
    server = start_server()
    episode = server.begin(small_task)
    answer = server.step(episode, "echo one", "1")
    traces = server.traces()
    os.kill(server.keeper, signal.SIGKILL)
    server.kill()
    server.start()
    assert traces.left() == []
    assert server.step(episode, "echo one", "1") == answer
    status, problem = server.ask("POST", f"/episodes/{episode}/step", {"action": "true", "step_id": "2"})
    assert (status, problem["kind"]) == (410, "lost")


def test_a_sandbox_that_died_while_no_server_was_there_is_lost_alone(start_server: Start, small_task: Path) -> None:
    server = start_server()
    dead, alive = server.begin(small_task), server.begin(small_task)
    server.ask("DELETE", f"/episodes/{dead}/sandbox")
    server.kill()
    server.start()
    assert server.ask("GET", f"/episodes/{dead}")[1]["state"] == "lost"
    assert server.step(alive, "echo here", "1")["observation"].startswith("here\n")


def test_the_keeper_is_small_and_its_door_is_its_users_alone(start_server: Start) -> None:
    server = start_server()
    assert (server.state / "keeper").stat().st_mode & 0o777 == 0o700
    rows = Path(f"/proc/{server.keeper}/status").read_text().splitlines()
    (resident,) = (int(row.split()[1]) for row in rows if row.startswith("VmRSS"))
    assert resident < 24_000
    assert server.stop() == 0
    assert not (server.state / "keeper" / "keeper").exists()


def test_a_ledger_gives_back_what_was_noted_to_whoever_maps_it() -> None:
    ledger = Ledger(2)
    place, other = ledger.place(), ledger.place()
    assert place is not None and other is not None and ledger.place() is None
    assert (note := place.read()).step_id is None and note.renewed == 0.0
    place.renewed(12.5)
    assert place.step("1", "echo é \udcff")
    place.gives(b"Pabcdefgh", 40, 7)
    place.reads_output()
    assert not other.step("é", "x" * 5000)
    next_one = Ledger(1, os.dup(ledger.descriptor))
    note, long = (_read(next_one, one.number) for one in (place, other))
    assert (note.renewed, note.step_id, note.action) == (12.5, "1", "echo é \udcff")
    assert (note.given.nonce, note.given.size, note.given.shell) == (b"Pabcdefgh", 40, 7)
    assert (note.given.status_read, note.given.output_read) == (False, True)
    assert (long.step_id, long.action, long.given) == ("é", None, None)
    ledger.close()
    next_one.close()


def _read(ledger: Ledger, number: int) -> Any:
    place = ledger.place(number)
    assert place is not None
    return place.read()
