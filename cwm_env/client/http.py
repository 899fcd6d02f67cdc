"""One connection to a server that asks again until it has an answer: for a thread that waits. Standard library only."""

from __future__ import annotations

import http.client
import json
import random
import ssl
import time
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, urlsplit

from cwm_env import wire
from cwm_env.errors import CwmEnvError, InputError, RemoteError

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0
LARGEST = 64 << 20
"""Bytes of a file that are taken where nobody says how many may come: what lies in a sandbox is a policy's choice."""


def pauses() -> Iterator[float]:
    """Seconds to wait before each further try: twice as long each time, with chance so that clients do not march."""
    pause = FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        pause = min(2 * pause, LONGEST_PAUSE)


class Tries:
    """The tries of one request that may arrive twice: what is tried again, and for how long."""

    def __init__(self, patience: float) -> None:
        """``patience``: seconds."""
        self._deadline = time.monotonic() + patience
        self._pauses = pauses()

    def broke(self, error: CwmEnvError, said: str | None = None) -> float:
        """How long to wait before the next, after there was no answer; ``said``: the server's ``Retry-After``.

        Raises:
            CwmEnvError: that error, where there is no time left for another.
        """
        pause = next(self._pauses)
        if said and said.isdigit():
            pause = max(pause, float(said))
        if time.monotonic() + pause > self._deadline:
            raise error
        return pause

    def refused(self, status: int, retry_after: str | None, data: bytes) -> float:
        """As ``broke``, after an answer that is a problem.

        Raises:
            CwmEnvError: what the problem stands for, where another try would come to the same.
        """
        document = document_of(status, data)
        error = wire.error_of(document)
        if not wire.to_retry(document):
            raise error
        return self.broke(error, retry_after)


def too_long(limit: int) -> InputError:
    """What is said of a file, or an archive, of which more than ``limit`` bytes came."""
    return InputError(f"it is longer than {limit} bytes: give a larger limit, or have a command print a part of it")


def quoted(path: str) -> str:
    """A path of the sandbox in a URL."""
    return quote(path.lstrip("/"), safe="/")


class Http:
    """One connection, opened when it is needed and again after it broke. Not for several threads at once."""

    def __init__(self, url: str, token: str | None = None, *, timeout: float, patience: float) -> None:
        """
        Args:
            url: of the server.
            timeout: seconds without a byte after which the connection counts as broken.
            patience: seconds for which a server that cannot be reached, or is full, is asked again.

        Raises:
            InputError: the URL is not one of HTTP.
        """
        self._connection: http.client.HTTPConnection | None = None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"the server's URL must be like http://HOST:PORT, not {url!r}")
        self._parts, self._timeout, self._patience = parts, timeout, patience
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """Ask, and decode the answer. The request must be one that may arrive twice.

        Raises:
            CwmEnvError: the server's problem, as the exception that it stands for.
            RemoteError: it cannot be reached.
        """
        return json.loads(self.raw(method, path, None if body is None else wire.dumps(body)) or b"null")

    def raw(self, method: str, path: str, body: bytes | None = None, *, limit: int | None = None) -> bytes:
        """As ``json``, without decoding.

        Raises:
            InputError: more than ``limit`` bytes came.
        """
        tries = Tries(self._patience)
        while True:
            try:
                response = self._once(method, path, body)
                data = response.read(None if limit is None else limit + 1)
            except (OSError, http.client.HTTPException) as broken:
                self.close()
                pause = tries.broke(RemoteError(f"the server at {self._parts.netloc} cannot be reached: {broken}"))
            else:
                if limit is not None and len(data) > limit:
                    self.close()
                    raise too_long(limit)
                if response.status < 400:
                    return data
                pause = tries.refused(response.status, response.headers.get("Retry-After"), data)
            time.sleep(pause)

    def lines(self, method: str, path: str, body: Any) -> Iterator[Any]:
        """Ask once, and decode the lines of the answer as they come; ends early where the connection breaks."""
        try:
            response = self._once(method, path, wire.dumps(body))
            if response.status >= 400:
                raise wire.error_of(document_of(response.status, response.read()))
            while line := response.readline():
                yield json.loads(line)
        except (OSError, http.client.HTTPException, ValueError):
            self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another. Idempotent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        self.close()

    def _once(self, method: str, path: str, body: bytes | None) -> http.client.HTTPResponse:
        if self._connection is None:
            host, port = self._parts.hostname, self._parts.port
            assert host is not None
            if self._parts.scheme == "https":
                context = ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=context)
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        self._connection.request(method, self._parts.path.rstrip("/") + path, body, self._headers)
        return self._connection.getresponse()


def document_of(status: int, data: bytes) -> dict[str, Any]:
    """The problem document in an answer; what stands for one where a proxy answered."""
    try:
        document = json.loads(data)
        assert isinstance(document, dict)
    except (ValueError, AssertionError):
        return {"status": status, "detail": f"the server answered {status}"}
    return {"status": status, **document}


def loads_lines(lines: Iterable[bytes]) -> list[Any]:
    """What lines of JSON say: decoded together, which costs half."""
    found: list[Any] = json.loads(b"[%s]" % b",".join(lines))
    return found
