"""Layers of a registry, fetched so that a broken connection costs only what was under way.

skopeo 1.9 gives up where the connection breaks within a layer, and none goes on in its next run with what was left. So
layers are brought to where skopeo looks for them before it does: with HTTP ranges, each into a file that gets its
name when it is whole and its digest is right. Whatever is not plain here (mirrors, credential helpers, certificates of
one's own) is left to skopeo, and so are all words about what cannot be had.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import requests

from cwm_env.errors import ImageError
from cwm_env.images.disk import locked

_AT_ONCE = 4
_TRIES = 3
_TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two pieces
_CHUNK = 1 << 15  # bytes: so much is lost with a connection
_HUB = ("docker.io", "index.docker.io")


@dataclass(frozen=True, slots=True)
class Login:
    """What a private registry asks for. A token is given as the password, to any user."""

    user: str
    password: str

    @property
    def encoded(self) -> str:
        """As HTTP's basic authentication and the files of credentials have it."""
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def fetch_layers(
    name: str, digests: Sequence[str], blobs: Path, login: Login | None, say: Callable[[str], None]
) -> None:
    """Bring layers into ``blobs/sha256``, as far as it can be done here.

    Args:
        name: ``docker://REGISTRY/NAME:TAG``.
        digests: ``sha256:…`` of each as the registry holds it.
        login: None takes those that ``docker login`` or ``skopeo login`` wrote down.

    Raises:
        ImageError: the registry sends something else than what was asked for.
        OSError: they cannot be written.
    """
    for directory in ("sha256", "parts"):
        (blobs / directory).mkdir(parents=True, exist_ok=True)
    registry = Registry(name, login)
    unique = list(dict.fromkeys(digests))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        fetched = [pool.submit(_fetch, registry, digest, blobs) for digest in unique]
        for number, layer in enumerate(fetched, 1):
            say(f"fetching layer {number} of {len(unique)}")
            with suppress(requests.RequestException):  # skopeo tries next, and says what is wrong
                layer.result()


def _fetch(registry: Registry, digest: str, blobs: Path) -> None:
    whole = blobs / "sha256" / digest.removeprefix("sha256:")
    part = blobs / "parts" / whole.name
    with locked(part.with_suffix(".lock")):
        failures = 0
        while not whole.exists():
            start = part.stat().st_size if part.exists() else 0
            try:
                registry.read(digest, part, start)
            except requests.RequestException as error:
                failures = 0 if part.exists() and part.stat().st_size > start else failures + 1
                refused = error.response is not None and error.response.status_code not in (429, 500, 502, 503, 504)
                if refused or failures == _TRIES:
                    raise
                time.sleep(0.2 * 4**failures)
                continue
            with part.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found == whole.name:
                part.rename(whole)
                continue
            part.unlink()
            if not start:  # or what an earlier run has left was not the beginning
                raise ImageError(
                    f"the registry sent a layer that is damaged: its digest is sha256:{found}, not {digest}"
                )


class Registry:
    """One repository of a registry. Thread-safe."""

    def __init__(self, name: str, login: Login | None) -> None:
        self.host, self.repository = place_of(name)
        self._scheme = "http" if is_local(self.host) else "https"
        self._login = login or _kept(self.host)
        self._authorization: str | None = None

    def read(self, digest: str, part: Path, start: int) -> None:
        """Write what follows the first ``start`` bytes of a layer to the end of ``part``.

        Raises:
            requests.RequestException: not all of it came.
        """
        answer = self._get(digest, start)
        if answer.status_code == 401 and self._authorize(answer.headers.get("WWW-Authenticate", "")):
            answer.close()
            answer = self._get(digest, start)
        with answer:
            if answer.status_code == 416 and start:  # there is no more
                return
            answer.raise_for_status()
            goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            left = int(answer.headers.get("Content-Length", 0))
            with part.open("ab" if answer.status_code == 206 and goes_on else "wb") as file:
                for piece in answer.iter_content(_CHUNK):
                    file.write(piece)
                    left -= len(piece)
            if left > 0:
                raise requests.ConnectionError(f"{left} bytes did not come")

    def _get(self, digest: str, start: int) -> requests.Response:
        headers = {"Accept-Encoding": "identity"}  # or it would be another digest
        if start:
            headers["Range"] = f"bytes={start}-"
        if self._authorization:
            headers["Authorization"] = self._authorization
        url = f"{self._scheme}://{self.host}/v2/{self.repository}/blobs/{digest}"
        return requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT)

    def _authorize(self, challenge: str) -> bool:
        """Do what the registry asks for; whether anything could be done."""
        kind, _, rest = challenge.partition(" ")
        basic = f"Basic {self._login.encoded}" if self._login else None
        if kind.lower() == "basic":
            self._authorization = basic
            return basic is not None
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = fields.pop("realm", "")
        if kind.lower() != "bearer" or not realm.startswith(f"{self._scheme}://"):
            return False
        headers = {"Authorization": basic} if basic else {}
        answer = requests.get(realm, params=fields, headers=headers, timeout=_TIMEOUT)
        answer.raise_for_status()
        said = answer.json()
        self._authorization = f"Bearer {said.get('token') or said.get('access_token')}"
        return True


def is_local(host: str) -> bool:
    """Whether a registry is on this machine, and so spoken to without TLS, as Docker does."""
    return host.partition(":")[0] in ("localhost", "127.0.0.1")


def place_of(name: str) -> tuple[str, str]:
    """Host and repository of ``docker://REGISTRY/NAME:TAG``; without a registry it is Docker's own."""
    host, _, path = name.removeprefix("docker://").partition("/")
    if not path or not (host == "localhost" or "." in host or ":" in host):
        host, path = _HUB[0], f"{host}/{path}".rstrip("/")
    path = re.sub(r"(:[^:/@]+)?(@.*)?$", "", path)
    if host in _HUB:
        return "registry-1.docker.io", path if "/" in path else f"library/{path}"
    return host, path


def _kept(host: str) -> Login | None:
    """What ``docker login`` and ``skopeo login`` write down; not what they give to a helper of the system."""
    key = "https://index.docker.io/v1/" if host == "registry-1.docker.io" else host
    runtime, docker = os.environ.get("XDG_RUNTIME_DIR", ""), os.environ.get("DOCKER_CONFIG", "~/.docker")
    files = (os.environ.get("REGISTRY_AUTH_FILE", ""), f"{runtime}/containers/auth.json", f"{docker}/config.json")
    for file in files:
        with suppress(OSError, ValueError, KeyError, TypeError):
            secret = json.loads(Path(file).expanduser().read_bytes())["auths"][key]["auth"]
            user, _, password = base64.b64decode(secret).decode().partition(":")
            return Login(user, password)
    return None
