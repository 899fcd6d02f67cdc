"""A step runs at most once, its answer is kept, and no connection matters."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from cwm_env import RemoteEnv
from cwm_env.trajectories import TrajectoryStore
from tests.server.conftest import Server, Start
from tests.server.proxy import BadNetwork

COUNT = "echo x >> /tmp/count; wc -l < /tmp/count"


def test_the_same_id_runs_once_and_gets_the_same_answer(server: Server, small_task: Path) -> None:
    episode = server.begin(small_task)
    first = server.step(episode, COUNT, "a")
    assert server.step(episode, COUNT, "b")["observation"].startswith("2\n")
    assert server.step(episode, COUNT, "a") == first
    assert server.step(episode, COUNT, "c")["observation"].startswith("3\n")


def test_another_action_under_a_used_id_is_a_conflict(server: Server, small_task: Path) -> None:
    episode = server.begin(small_task)
    server.step(episode, "true", "a")
    status, problem = server.ask("POST", f"/episodes/{episode}/step", {"action": "false", "step_id": "a"})
    assert (status, problem["kind"]) == (409, "step-id-reused")
    assert problem["type"] == "urn:cwm-env:problem:step-id-reused" and problem["remedy"]


def test_a_retry_waits_for_the_running_step_and_another_step_does_not_start(server: Server, small_task: Path) -> None:
    episode = server.begin(small_task)
    answers: list[Any] = []
    action = f"sleep 0.6; {COUNT}"
    threads = [threading.Thread(target=lambda: answers.append(server.step(episode, action, "a"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    status, problem = server.ask("POST", f"/episodes/{episode}/step", {"action": "true", "step_id": "b"})
    assert (status, problem["kind"]) == (409, "step-running")
    for thread in threads:
        thread.join()
    assert len(answers) == 3 and answers[0] == answers[1] == answers[2]
    assert answers[0]["observation"].startswith("1\n")


def test_a_client_that_vanishes_costs_nothing(server: Server, small_task: Path) -> None:
    episode = server.begin(small_task)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    body = '{"action": "sleep 0.5; echo done > /tmp/done; echo done", "step_id": "a"}'
    connection.request("POST", f"/episodes/{episode}/step", body, {"Content-Type": "application/json"})
    time.sleep(0.2)
    connection.close()
    assert server.step(episode, "sleep 0.5; echo done > /tmp/done; echo done", "a")["observation"].startswith("done\n")
    assert server.step(episode, "cat /tmp/done", "b")["observation"].startswith("done\n")


def test_the_end_can_be_asked_for_again_and_nothing_comes_after_it(server: Server, small_task: Path) -> None:
    episode = server.begin(small_task)
    status, answer = server.ask("POST", f"/episodes/{episode}/submit", {})
    assert (status, answer["terminated"], answer["info"]["grade"]["outcome"]) == (200, True, "unresolved")
    assert server.ask("POST", f"/episodes/{episode}/submit", {})[1] == answer
    status, problem = server.ask("POST", f"/episodes/{episode}/step", {"action": "true", "step_id": "z"})
    assert (status, problem["kind"]) == (410, "ended")
    status, trajectory = server.ask("GET", f"/episodes/{episode}/trajectory")
    assert trajectory["episode"] == episode and len(trajectory["steps"]) == 1 and trajectory["reward"] == 0.0


def test_a_request_for_an_episode_that_comes_twice_makes_one(server: Server, small_task: Path) -> None:
    request = {"request_id": "once", "seed": 3}
    first = server.begin(small_task, **request)
    assert server.begin(small_task, **request) == first
    status, problem = server.ask("POST", "/episodes", {"task": str(small_task), "request_id": "once", "seed": 4})
    assert (status, problem["kind"]) == (409, "request-id-reused")


def test_an_episode_may_be_asked_for_without_waiting(server: Server, small_task: Path) -> None:
    status, made = server.ask("POST", "/episodes", {"task": str(small_task), "wait": False})
    assert status == 201 and made["lease_seconds"] > 0
    deadline = time.monotonic() + 20
    while (state := server.ask("GET", f"/episodes/{made['episode_id']}")[1])["state"] == "starting":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert state["state"] == "ready" and "doubling" in state["observation"]


def test_an_episode_that_is_still_starting_can_be_ended(server: Server, small_task: Path) -> None:
    status, made = server.ask("POST", "/episodes", {"task": str(small_task), "wait": False})
    assert status == 201
    assert server.ask("DELETE", f"/episodes/{made['episode_id']}")[0] == 204
    assert server.ask("GET", f"/episodes/{made['episode_id']}")[1]["failure"] == "abandoned"


def test_a_network_that_loses_delays_repeats_and_reorders_changes_nothing(server: Server, small_task: Path) -> None:
    with BadNetwork(server.port, seed=7) as network:
        env = RemoteEnv(small_task, url=network.url, turns=1000)
        env.reset()
        seen = [env.step(COUNT)[0].split("\n")[0] for _ in range(60)]
        observation, reward, terminated, _, _ = env.step("submit")
        env.close()
    assert seen == [str(number) for number in range(1, 61)]
    assert terminated and reward == 0.0 and "unresolved" in observation
    assert network.lost > 5


def test_an_expired_lease_frees_everything_and_records_what_there_was(start_server: Start, small_task: Path) -> None:
    server = start_server("--lease", "1", "--warm", "0")
    used, unused = server.begin(small_task), server.begin(small_task)
    deadline = time.monotonic() + 2.5
    number = 0
    while time.monotonic() < deadline:  # use renews it
        number += 1
        server.step(used, "true", str(number)) if number < 3 else server.ask("POST", f"/episodes/{used}/heartbeat")
        time.sleep(0.2)
    assert server.ask("GET", f"/episodes/{used}")[1]["state"] == "ready"
    (lost,) = TrajectoryStore(server.state / "trajectories.jsonl")
    assert (lost.episode, lost.failure, lost.reward) == (unused, "abandoned", None)
    time.sleep(2.5)
    assert server.ask("GET", f"/episodes/{unused}")[0] == 404
    assert [one.episode for one in TrajectoryStore(server.state / "trajectories.jsonl")] == [unused, used]


@pytest.mark.parametrize("path", ["/episodes/nosuch", "/episodes/nosuch/trajectory", "/nosuch"])
def test_what_is_not_there_is_said_as_a_problem(server: Server, path: str) -> None:
    status, problem = server.ask("GET", path)
    assert status == 404 and problem["status"] == 404 and problem["detail"] and problem["remedy"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(server: Server, small_task: Path, chunked: bool) -> None:
    episode = server.begin(small_task)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.putrequest("POST", f"/episodes/{episode}/step")
    if chunked:
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        with contextlib.suppress(OSError):
            for _ in range(17):
                connection.send(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
    else:
        connection.putheader("Content-Length", str(17 << 20))
        connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413 and json.loads(answer.read())["kind"] == "too-large"
    connection.close()
    assert server.step(episode, "echo on", "b")["observation"].startswith("on\n")


def test_what_a_command_prints_comes_while_it_runs(server: Server, small_task: Path) -> None:
    episode = server.begin(small_task)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    body = '{"action": "echo first; sleep 1; echo second", "step_id": "a"}'
    started = time.monotonic()
    connection.request("POST", f"/episodes/{episode}/step", body, headers)
    answer = connection.getresponse()
    first = answer.readline() + answer.readline()
    assert time.monotonic() - started < 0.9
    assert b"event: output" in first and b"first" in first
    rest = answer.read()
    assert b"second" in rest and b"event: result" in rest
    connection.close()
