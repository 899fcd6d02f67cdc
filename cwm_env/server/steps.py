"""The way of a single step, past the framework, which would cost more than the step itself.

``routes/episodes.py`` documents the end-point, and answers whatever is unusual: events, bodies in pieces, large ones.
A plain request is answered here, from what the socket has read to what it is given to write. It is the one request
that is made thousands of times a second.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from cwm_env import wire
from cwm_env.errors import CwmEnvError
from cwm_env.server.guard import Gate
from cwm_env.server.host import Host
from cwm_env.server.outbox import document_of
from cwm_env.server.pending import Pending
from cwm_env.server.problems import Problem, problem_of, unfit

_STEP = re.compile(
    rb"POST (/episodes/([0-9A-Za-z_-]{1,64})/step) HTTP/1\.1\r\n((?:[!-9;-~]+:[\t -~\x80-\xff]*\r\n)+)\r\n"
)
_UNUSUAL = {b"transfer-encoding", b"expect", b"upgrade"}
_MOST = 64 << 10  # bytes of a body that is awaited here


class StepProtocol(HttpToolsProtocol):
    """One connection. Between two requests of uvicorn's it looks whether the next is a plain step."""

    host: Host
    gate: Gate

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._inside = False  # whether uvicorn's parser has read half a request
        self._part = b""  # of a step's request
        self._stepping = self._last = False
        self._held = b""  # what came while a step ran
        self._idle_since = 0.0

    def data_received(self, data: bytes) -> None:
        """As ``asyncio.Protocol``."""
        if self._stepping:  # its answer comes first
            self._held += data
            self.flow.pause_reading()
            return
        if self._part:
            data, self._part = self._part + data, b""
        free = not self._inside and (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused
        if not (free and (found := _STEP.match(data)) and self._took(found, data)):
            super().data_received(data)

    def on_message_begin(self) -> None:
        """As uvicorn's parser calls it."""
        self._inside = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """As uvicorn's parser calls it."""
        self._inside = False
        super().on_message_complete()

    def shutdown(self) -> None:
        """As uvicorn calls it: end the connection, after the answer to a step that runs."""
        self._last = True
        if not self._stepping:
            super().shutdown()

    def _took(self, found: re.Match[bytes], data: bytes) -> bool:
        """Begin the step, or wait for the rest of its request; False where it is not a plain one."""
        headers: dict[bytes, str] = {}
        for line in found[3].splitlines():
            name, _, value = line.partition(b":")
            name = name.lower()
            if name in headers or name in _UNUSUAL:
                return False
            headers[name] = value.decode("latin-1").strip()
        length = headers.get(b"content-length", "")
        connection = headers.get(b"connection", "keep-alive").lower()
        if not length.isdigit() or connection != "keep-alive" or wire.SSE in headers.get(b"accept", ""):
            return False
        whole = found.end() + int(length)
        if int(length) > _MOST or len(data) > whole:
            return False
        if len(data) < whole:
            self._part = data
            return True
        try:
            answer = self._step(found, headers, data[found.end() :])
        except CwmEnvError as error:
            self._refuse(problem_of(error))
        except Problem as problem:
            self._refuse(problem)
        else:
            if isinstance(answer, bytes):
                self._reply(200, answer, _JSON)
            else:
                self._stepping = True
                answer.tell(self._came)
        return True

    def _step(self, found: re.Match[bytes], headers: Mapping[bytes, str], body: bytes) -> bytes | Pending:
        tenant, _ = self.gate.admit(found[1].decode(), headers)
        try:
            request = wire.StepRequest.model_validate_json(body)
        except ValidationError as error:
            raise unfit(error.errors(include_url=False, include_input=False)) from None
        return self.host.find(tenant, found[2].decode()).step(request.step_id, request.action)

    def _came(self, pending: Pending) -> None:
        self._stepping = False
        try:
            self._reply(200, pending.result(), _JSON)
        except CwmEnvError as error:
            self._refuse(problem_of(error))
        except Exception as error:
            self._reply(500, wire.dumps(document_of(error)), _PROBLEM)
        if self._held:
            held, self._held = self._held, b""
            self.loop.call_soon(self._go_on, held)

    def _go_on(self, held: bytes) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.data_received(held)

    def _refuse(self, problem: Problem) -> None:
        headers = b"".join(
            b"%s: %s\r\n" % (name.lower().encode(), value.encode()) for name, value in problem.headers.items()
        )
        self._reply(problem.status, wire.dumps(document_of(problem)), _PROBLEM + headers)

    def _reply(self, status: int, body: bytes, headers: bytes) -> None:
        if self.transport.is_closing():  # whoever asked has gone
            return
        self.server_state.total_requests += 1
        usual = b"".join([b"%s: %s\r\n" % header for header in self.server_state.default_headers])
        last = b"connection: close\r\n" if self._last else b""
        self.transport.write(
            b"%s%s%s%scontent-length: %d\r\n\r\n%s" % (STATUS_LINE[status], usual, headers, last, len(body), body)
        )
        if self._last:
            self.transport.close()
            return
        self._idle_since = time.monotonic()
        if self.timeout_keep_alive_task is None:  # one timer for many requests
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self._tire)

    def _tire(self) -> None:
        """Close the connection if it has been idle for long."""
        self.timeout_keep_alive_task = None
        left = self._idle_since + self.timeout_keep_alive - time.monotonic()
        if left <= 0 and not (self._stepping or self._part):
            self.timeout_keep_alive_handler()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(max(left, 1.0), self._tire)


_JSON = b"content-type: application/json\r\n"
_PROBLEM = b"content-type: %s\r\n" % wire.PROBLEM.encode()


def protocol_of(host: Host, gate: Gate) -> type[StepProtocol]:
    """The protocol of one server's connections, for uvicorn."""
    return type("StepProtocol", (StepProtocol,), {"host": host, "gate": gate})
