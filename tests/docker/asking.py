"""A registry that hands out tokens for a password, as public ones do, before one that asks for nothing."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

LOGIN = "Basic " + base64.b64encode(b"somebody:secret").decode()
TOKEN = "t0k3n"


class _Handler(BaseHTTPRequestHandler):
    server: _Asking

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "")
        if self.path.startswith("/token?"):
            self._say(200 if given == LOGIN else 401, {"token": TOKEN} if given == LOGIN else {})
            return
        if given != f"Bearer {TOKEN}":
            realm = f'Bearer realm="http://{self.server.address}/token",service="registry",scope="repository:x:pull"'
            self._say(401, {"errors": [{"code": "UNAUTHORIZED"}]}, {"WWW-Authenticate": realm})
            return
        kept = {name: self.headers[name] for name in ("Accept", "Range", "Accept-Encoding") if name in self.headers}
        answer = requests.get(f"http://{self.server.target}{self.path}", headers=kept, timeout=20)
        self.server.asked.append((self.path, answer.status_code, self.headers["User-Agent"]))
        names = ("Content-Type", "Content-Range", "Docker-Content-Digest", "Docker-Distribution-Api-Version")
        self._send(
            answer.status_code, answer.content, {name: answer.headers[name] for name in names if name in answer.headers}
        )

    def _say(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class _Asking(ThreadingHTTPServer):
    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.address = f"127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, int, str]] = []
        """Of what was let through: path, status, and the program that asked."""


@contextlib.contextmanager
def asking(target: str) -> Iterator[_Asking]:
    """The registry, until the end of the block."""
    with _Asking(target) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
