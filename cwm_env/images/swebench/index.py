"""The package index as it was on a day, for programs in a sandbox: served on this machine's loopback, nothing else.

A sandbox whose only network is this server can run any version of pip, with the code of any package, and reaches
nobody. What it fetched is known afterwards: those are the files that the same steps need where there is no network.
"""

from __future__ import annotations

import contextlib
import hashlib
import html
import http.server
import secrets
import shutil
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from cwm_env.errors import ImageError
from cwm_env.images.downloads import REMEDY, connection
from cwm_env.images.recipe import canonical

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage
    from requests import Session

_SECONDS = (10.0, 30.0)
"""To connect, and between two pieces of an answer; then once more."""
_RETRIES = 4


@dataclass(frozen=True, slots=True)
class File:
    """One file of the index."""

    name: str
    sha256: str

    @property
    def key(self) -> str:
        """The name under which it is kept."""
        return f"file-{self.sha256}"


class Upstream:
    """The user's own index, and the files that were fetched from it, which are kept. Safe for many threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._urls: dict[File, str] = {}
        self.memory: dict[File, dict[str, Any]] = {}
        """What was read out of files."""
        self.page = cache(self._page)
        self._connection = cache(_connection)

    def pinned(self, name: str, version: str) -> Path:
        """The wheel of a release that has one for every machine.

        Raises:
            ImageError: there is none, or it cannot be had.
        """
        for each in self.page(name):
            if each.version == version and each.filename.endswith("-none-any.whl"):
                return self.fetch(File(each.filename, each.digests["sha256"]))
        raise ImageError(f"the package index has no wheel of {name} {version}")

    def _page(self, project: str) -> tuple[DistributionPackage, ...]:
        """The files of a project; none where there is no such project.

        Raises:
            ImageError: the index cannot be reached.
        """
        import requests
        from pypi_simple import ACCEPT_JSON_PREFERRED, NoSuchProjectError, PyPISimple

        session, endpoints = self._connection()
        for endpoint in endpoints:
            with contextlib.suppress(NoSuchProjectError):
                index = PyPISimple(endpoint, session=session, accept=ACCEPT_JSON_PREFERRED)
                try:
                    found = index.get_project_page(project, timeout=_SECONDS).packages
                except requests.RequestException as error:  # its text may show an address with a password in it
                    raise ImageError(f"the package index failed ({type(error).__name__}): {REMEDY}") from None
                files = tuple(each for each in found if "sha256" in each.digests)
                self._urls |= {File(each.filename, each.digests["sha256"]): each.url for each in files}
                return files
        return ()

    def fetch(self, file: File) -> Path:
        """A file of the index, checked against its hash.

        Raises:
            ImageError: the index has no such file, cannot be reached, or gave another content.
        """
        target = self._directory / file.key
        if target.is_file():
            return target
        if file not in self._urls:
            self.page(canonical(_project(file.name)))
        if file not in self._urls:
            raise ImageError(f"the package index has no {file.name} any more")
        partial = self._directory / f".{secrets.token_hex(8)}"
        try:
            self._download(file, partial)
            partial.chmod(0o644)
            partial.rename(target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    def _download(self, file: File, target: Path) -> None:
        import requests

        digest = hashlib.sha256()
        try:
            session, _ = self._connection()
            with session.get(self._urls[file], stream=True, timeout=_SECONDS) as answer, target.open("wb") as out:
                answer.raise_for_status()
                for piece in answer.iter_content(1 << 18):
                    digest.update(piece)
                    out.write(piece)
        except requests.RequestException as error:
            raise ImageError(f"{file.name} cannot be downloaded ({type(error).__name__}): {REMEDY}") from None
        if digest.hexdigest() != file.sha256:
            raise ImageError(f"{file.name} has sha256 {digest.hexdigest()}, the package index says {file.sha256}")


@cache
def upstream_in(directory: Path) -> Upstream:
    """The one of a directory: its pages are read once by a process."""
    return Upstream(directory)


def _connection() -> tuple[Session, list[str]]:
    from requests.adapters import HTTPAdapter
    from urllib3 import Retry

    session, endpoints = connection()
    patient = HTTPAdapter(max_retries=Retry(_RETRIES, backoff_factor=0.5, status_forcelist=(500, 502, 503, 504)))
    for scheme in ("http://", "https://"):
        session.mount(scheme, patient)
    return session, endpoints


@dataclass(slots=True)
class Dated:
    """The index as it was on a day."""

    upstream: Upstream
    until: datetime | None = None
    """Files that came later are not there; None for all that are there today."""
    always: Collection[str] = ()
    """Canonical names of projects of which every release is there."""
    never: Collection[str] = ()
    """Canonical names of projects that are not there at all."""
    fetched: list[File] = field(default_factory=list)
    """What was fetched, in order."""

    def files(self, project: str) -> list[DistributionPackage]:
        """The files of a project on that day."""
        if project in self.never:
            return []
        every = self.upstream.page(project)
        if self.until is None or project in self.always:
            return list(every)
        return [each for each in every if each.upload_time is None or each.upload_time <= self.until]


@contextlib.contextmanager
def serving(index: Dated) -> Iterator[int]:
    """Serve an index as pip reads it, at ``http://127.0.0.1:PORT/simple/``, while the block runs; gives the port."""

    class Handler(_Handler):
        dated = index

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="cwm-env index")
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Pages in HTML, which every version of pip reads; and the files that they name."""

    dated: Dated

    def do_GET(self) -> None:
        """Answer one request."""
        parts = [unquote(part) for part in self.path.split("?")[0].strip("/").split("/")]
        try:
            if len(parts) == 2 and parts[0] == "simple":
                self._send_page(canonical(parts[1]))
            elif len(parts) == 3 and parts[0] == "file":
                self._send_file(File(parts[2], parts[1]))
            else:
                self.send_error(404)
        except ImageError as error:
            self.send_error(502, str(error).splitlines()[0])
        except (BrokenPipeError, ConnectionResetError):
            pass  # pip has what it wants

    def _send_page(self, project: str) -> None:
        files = self.dated.files(project)
        if not files:
            self.send_error(404)
            return
        body = "<!DOCTYPE html>\n" + "".join(map(_anchor, files))
        self._send("text/html", len(body.encode()))
        self.wfile.write(body.encode())

    def _send_file(self, file: File) -> None:
        path = self.dated.upstream.fetch(file)
        if file not in self.dated.fetched:
            self.dated.fetched.append(file)
        with path.open("rb") as source:
            self._send("application/octet-stream", path.stat().st_size)
            shutil.copyfileobj(source, self.wfile)

    def _send(self, kind: str, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: whoever asks reports what it got."""


def _anchor(file: DistributionPackage) -> str:
    sha256 = file.digests["sha256"]
    python = f' data-requires-python="{html.escape(file.requires_python)}"' if file.requires_python else ""
    yanked = ' data-yanked=""' if file.is_yanked else ""
    name = html.escape(file.filename)
    return f'<a href="/file/{sha256}/{name}#sha256={sha256}"{python}{yanked}>{name}</a><br>\n'


def _project(filename: str) -> str:
    """The project of a file, by its name."""
    if filename.endswith(".whl"):
        return filename.partition("-")[0]
    stem = filename.removesuffix(".zip").removesuffix(".gz").removesuffix(".bz2").removesuffix(".tar")
    return stem.rpartition("-")[0]
