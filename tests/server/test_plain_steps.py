"""What a connection's own protocol answers is what the framework would answer, however the bytes come."""

from __future__ import annotations

import http.client
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from cwm_env import wire
from tests.server.conftest import Server


def request(episode: str, action: str, step_id: str, *headers: str) -> bytes:
    body = wire.dumps({"action": action, "step_id": step_id})
    lines = ["Host: 127.0.0.1", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([f"POST /episodes/{episode}/step HTTP/1.1", *lines, "", ""]).encode() + body


class Line:
    """A connection on which bytes are sent as they are given."""

    def __init__(self, server: Server) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        self._file = self._socket.makefile("rb")

    def send(self, *pieces: bytes) -> None:
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            self._socket.sendall(piece)
            time.sleep(0.02)

    def answer(self) -> tuple[int, Any]:
        status = int(self._file.readline().split()[1])
        headers: dict[bytes, bytes] = {}
        while line := self._file.readline().strip():
            name, _, value = line.partition(b": ")
            headers[name.lower()] = value
        return status, json.loads(self._file.read(int(headers[b"content-length"])))

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def episode(server: Server, small_task: Path) -> str:
    return server.begin(small_task)


def test_a_request_in_pieces_is_one_step(server: Server, episode: str) -> None:
    line, whole = Line(server), request(episode, "echo one", "1")
    line.send(whole[:20], whole[20:90], whole[90:-10], whole[-10:])
    assert line.answer()[1]["observation"].startswith("one\n")
    whole = request(episode, "echo two", "2")
    line.send(whole[:-10], whole[-10:])
    assert line.answer()[1]["observation"].startswith("two\n")
    line.close()


def test_requests_that_come_at_once_are_answered_in_their_order(server: Server, episode: str) -> None:
    line = Line(server)
    slow, quick = request(episode, "sleep 0.3; echo slow", "1"), request(episode, "echo quick", "2")
    line.send(slow + quick + b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + quick)
    answers = [line.answer()[1] for _ in range(4)]
    assert answers[0]["observation"].startswith("slow\n") and answers[1]["observation"].startswith("quick\n")
    assert answers[2] == {"status": "ok"} and answers[3] == answers[1]
    line.close()


def test_both_ways_give_the_same_answer(server: Server, episode: str) -> None:
    line, plain = Line(server), request(episode, "echo same; false", "1")
    line.send(plain)
    first = line.answer()
    line.send(plain)
    assert line.answer() == first
    line.send(request(episode, "echo same; false", "1", "Connection: close"))
    assert line.answer() == first
    line.close()


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("{}", b'{"action": 1, "step_id": "1"}', 422, "input"),
        ("{}", b"{", 422, "input"),
        ("{}", b'{"action": "true", "step_id": "a b"}', 422, "input"),
        ("nosuch", b'{"action": "true", "step_id": "1"}', 404, "no-episode"),
    ],
)
def test_problems_are_the_same_on_both_ways(
    server: Server, episode: str, path: str, body: bytes, status: int, kind: str
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    found = []
    for more in ({}, {"Connection": "close"}):
        headers = {"Content-Type": "application/json", **more}
        connection.request("POST", f"/episodes/{path.format(episode)}/step", body, headers)
        answer = connection.getresponse()
        found.append((answer.status, answer.getheader("Content-Type"), json.loads(answer.read())["kind"]))
    connection.close()
    assert found == [(status, wire.PROBLEM, kind)] * 2


def test_a_request_whose_length_is_in_doubt_runs_nothing(server: Server, episode: str) -> None:
    for doubtful in ("Content-Length: 3", "Transfer-Encoding: chunked"):
        line = Line(server)
        line.send(request(episode, "echo x >> /tmp/ran", "1", doubtful))
        assert line._file.readline().split()[1] == b"400"
        line.close()
    assert server.step(episode, "cat /tmp/ran", "2")["info"]["result"]["exit_code"] == 1


def test_a_step_is_only_for_this_machine_where_there_are_no_tokens(server: Server, episode: str) -> None:
    line = Line(server)
    line.send(request(episode, "true", "1").replace(b"Host: 127.0.0.1", b"Host: example.org"))
    status, problem = line.answer()
    assert (status, problem["kind"]) == (403, "not-local")
    line.close()
