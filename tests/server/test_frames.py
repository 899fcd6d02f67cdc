"""A socket takes frames however they come, and says what is wrong with those that it does not take."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from cwm_env import wire
from tests.server.conftest import Server

MASK = b"\1\2\3\4"


@pytest.fixture
def episode(server: Server, small_task: Path) -> str:
    return server.begin(small_task)


@pytest.fixture
def line(server: Server) -> Iterator[ClientConnection]:
    with connect(f"ws://127.0.0.1:{server.port}/steps", max_size=None) as made:
        yield made


def step(episode: str, action: str, step_id: str) -> str:
    return wire.dumps({"episode_id": episode, "step_id": step_id, "action": action}).decode()


def frame(payload: bytes, first: int = 0x81, masked: bool = True) -> bytes:
    size, mask = len(payload), 0x80 if masked else 0
    if size < 126:
        head = bytes((first, mask | size))
    else:
        head = struct.pack("!BBH" if size < 1 << 16 else "!BBQ", first, mask | (126 if size < 1 << 16 else 127), size)
    coded = bytes(byte ^ MASK[place % 4] for place, byte in enumerate(payload))
    return head + MASK + coded if masked else head + payload


def answers(line: ClientConnection, count: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while len(found) < count:
        for text in str(line.recv(timeout=60)).splitlines():
            told = json.loads(text)
            found[told["step_id"]] = told["answer"]["observation"].split("\n")[0]
    return found


def test_texts_of_every_length_and_in_parts_are_steps(line: ClientConnection, episode: str) -> None:
    for number, size in enumerate((1, 200, 70_000)):
        line.send(step(episode, f"echo {number} # {'x' * size}", str(number)))
        assert answers(line, 1) == {str(number): str(number)}
    text = step(episode, "echo parts", "parts")
    line.send([text[:10], text[10:30], text[30:]])
    assert answers(line, 1) == {"parts": "parts"}
    assert line.ping().wait(60)
    line.send(step(episode, "printf '%060000d' 1", "long"))
    assert set(answers(line, 1)["long"]) == {"0", "1"}


def test_bytes_may_come_one_by_one_and_frames_many_at_once(server: Server, episode: str, small_task: Path) -> None:
    other = server.begin(small_task)
    with connect(f"ws://127.0.0.1:{server.port}/steps") as line:
        line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in frame(step(episode, "echo one", "1").encode()):
            line.socket.sendall(bytes((byte,)))
        assert answers(line, 1) == {"1": "one"}
        two, three = (frame(step(one, f"echo {word}", word).encode()) for one, word in ((episode, "a"), (other, "b")))
        line.socket.sendall(two + frame(b"", 0x89) + three[:7])
        line.socket.sendall(three[7:])
        assert answers(line, 2) == {"a": "a", "b": "b"}


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(b"{}", masked=False), 1002),
        (frame(b"{}", 0xC1), 1002),
        (frame(b"\xff"), 1007),
        (struct.pack("!BBQ", 0x81, 0xFF, 1 << 40) + MASK, 1009),
    ],
)
def test_a_frame_that_breaks_the_rules_ends_the_socket_with_the_reason(server: Server, sent: bytes, code: int) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/steps") as line:
        line.socket.sendall(sent)
        with pytest.raises(ConnectionClosedError) as closed:
            line.recv(timeout=60)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == code


def test_a_text_that_is_no_step_is_told(line: ClientConnection) -> None:
    line.send("")
    line.send("{}")
    found: list[Any] = []
    while len(found) < 2:  # both may come in one message
        found += map(json.loads, str(line.recv(timeout=60)).splitlines())
    assert all(one["problem"]["status"] == 422 for one in found)
