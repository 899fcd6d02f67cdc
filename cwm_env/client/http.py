"""One connection to a server that asks again until it has an answer: for a thread that waits. Standard library only."""

from __future__ import annotations

import http.client
import json
import random
import ssl
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

from cwm_env import wire
from cwm_env.errors import InputError, RemoteError

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0


def pauses() -> Iterator[float]:
    """Seconds to wait before each further try: twice as long each time, with chance so that clients do not march."""
    pause = FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        pause = min(2 * pause, LONGEST_PAUSE)


def retry_after(said: str | None, pause: float) -> float:
    """How long to wait where the server says it, at least ``pause``."""
    return max(pause, float(said)) if said and said.isdigit() else pause


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

    def raw(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """As ``json``, without decoding."""
        deadline = time.monotonic() + self._patience
        for pause in pauses():
            error: Exception
            try:
                response = self._once(method, path, body)
                data = response.read()
            except (OSError, http.client.HTTPException) as broken:
                self.close()
                error = RemoteError(f"the server at {self._parts.netloc} cannot be reached: {broken}")
            else:
                if response.status < 400:
                    return data
                document = document_of(response.status, data)
                error = wire.error_of(document)
                if not wire.to_retry(document):
                    raise error
                pause = retry_after(response.headers.get("Retry-After"), pause)
            if time.monotonic() + pause > deadline:
                raise error
            time.sleep(pause)
        raise AssertionError("unreachable")

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
