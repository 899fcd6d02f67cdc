"""The Docker engine: where it is, and what its errors mean. The Docker SDK is imported here and nowhere else."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from cwm_env.errors import DiskFull, ImageError, InputError, SandboxError, SandboxUnavailable

_SECONDS = 120.0
_CONNECTIONS = 64
_NO_SPACE = ("no space left on device", "disk quota exceeded")


class Engine:
    """A connection to an engine, local or on another machine. Thread-safe."""

    def __init__(self, host: str | None = None) -> None:
        """
        Args:
            host: its address, such as ``unix:///var/run/docker.sock`` or ``tcp://10.0.0.2:2376``. None takes what the
                ``docker`` command would: ``DOCKER_HOST`` (with ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH``), else
                the context of ``DOCKER_CONTEXT`` or of its configuration file, else the local socket.

        Raises:
            SandboxUnavailable: the Docker SDK is not installed, or no engine answers.
            InputError: there is no such context.
        """
        try:
            import docker
        except ImportError:
            raise SandboxUnavailable("the Docker backend needs the Docker SDK: pip install 'cwm-env[docker]'") from None
        self.address = host or "the local socket"
        with self._explained("connect to it"):
            self._client = self._connect(docker, host)
            self._client.ping()
            self.version: Mapping[str, Any] = self._client.version()

    @property
    def api(self) -> Any:
        """The SDK's ``APIClient``; use it inside ``doing``."""
        return self._client.api

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Around calls of the SDK: its errors become ours, which say ``what`` could not be done.

        Raises:
            SandboxUnavailable: the engine does not answer, or lacks what is asked for.
            DiskFull: its disk is full.
            ImageError: it has no such image.
            SandboxError: anything else.
        """
        with self._explained(what):
            yield

    def close(self) -> None:
        """Close its connections. Idempotent."""
        self._client.close()

    def info(self) -> Mapping[str, Any]:
        """What the engine says about itself and its machine."""
        with self.doing("say what it is"):
            found: Mapping[str, Any] = self.api.info()
            return found

    def has_image(self, reference: str) -> bool:
        """Whether it has an image of this name or id."""
        from docker.errors import ImageNotFound

        with self.doing(f"look for image {reference}"):
            try:
                self.api.inspect_image(reference)
            except ImageNotFound:
                return False
            return True

    def load_image(self, archive: Iterable[bytes]) -> None:
        """Take in an archive that ``docker load`` understands."""
        with self.doing("load an image"):
            for said in self.api.load_image(archive):
                if "error" in said:
                    raise _meaning(str(said["error"]), "load an image")

    def attach(self, container: str) -> tuple[socket.socket, Callable[[], None]]:
        """The container's standard input, output and error as one socket, each piece of output with a header.

        Returns:
            The socket, and what closes it with all that stands on it.
        """
        with self.doing("attach to a container"):
            given = self.api.attach_socket(container, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            sock = getattr(given, "_sock", given)  # a plain connection comes wrapped in a file

            def close() -> None:
                sock.close()
                given.close()
                if isinstance(sock, ssl.SSLSocket):  # the answer's own reader keeps it open
                    given._response.close()

            return sock, close

    def _connect(self, docker: Any, host: str | None) -> Any:
        _knock(_direct(host or os.environ.get("DOCKER_HOST", "")))
        if host:
            return _client(docker.DockerClient, base_url=host)
        if os.environ.get("DOCKER_HOST"):
            self.address = os.environ["DOCKER_HOST"]
            return _client(docker.from_env)
        context = docker.ContextAPI.get_context(os.environ.get("DOCKER_CONTEXT"))
        if context is None:
            raise InputError(
                f"there is no Docker context {os.environ.get('DOCKER_CONTEXT')!r}: see `docker context ls`"
            )
        if context.Name == "default":
            return _client(docker.from_env)
        self.address = _direct(context.Host)
        return _client(docker.DockerClient, base_url=context.Host, tls=context.TLSConfig or False)

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        import requests
        from docker import errors

        try:
            yield
        except errors.ImageNotFound as error:
            raise ImageError(f"the Docker engine has no such image ({error.explanation or error})") from error
        except errors.APIError as error:
            raise _meaning(str(error.explanation or error), what) from error
        except (errors.DockerException, requests.RequestException, OSError) as error:
            raise SandboxUnavailable(
                f"the Docker engine at {self.address} does not answer ({_innermost(error)}): "
                "start it, or set DOCKER_HOST"
            ) from error


def _client(make: Callable[..., Any], **settings: Any) -> Any:
    """The SDK's client. Only what it is given says which authority signs the engine's certificate: requests would take
    that of ``REQUESTS_CA_BUNDLE`` instead, already when it asks for the engine's version.
    """
    from docker.constants import DEFAULT_DOCKER_API_VERSION

    client = make(version=DEFAULT_DOCKER_API_VERSION, timeout=_SECONDS, max_pool_size=_CONNECTIONS, **settings)
    if isinstance(client.api.verify, str):
        client.api.trust_env = False
    try:
        client.api._version = client.api.version(api_version=False)["ApiVersion"]
    except BaseException:
        client.close()
        raise
    return client


def _direct(address: str) -> str:
    """An address of a kind that carries a container's streams: not ``ssh://``, which is a program's two pipes."""
    if address.startswith("ssh://"):
        raise SandboxUnavailable(
            f"the Docker engine at {address} is not reached over ssh: forward its socket with "
            f"`ssh -nNT -L /tmp/far.sock:/var/run/docker.sock {address.removeprefix('ssh://')}`, "
            "and set DOCKER_HOST=unix:///tmp/far.sock"
        )
    return address


def _knock(address: str) -> None:
    """See whether somebody listens on a local socket: the SDK would leave one of its own open where nobody does."""
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(address.removeprefix("unix://"))


def _meaning(text: str, what: str) -> SandboxError:
    lower = text.lower()
    if any(words in lower for words in _NO_SPACE):
        return DiskFull(
            f"the Docker engine has no space left ({text}): free some, for example with `docker system prune`"
        )
    if "unknown runtime" in lower or "invalid runtime" in lower:
        return SandboxUnavailable(
            f"the Docker engine cannot use that runtime ({text}): install it and name it in daemon.json"
        )
    return SandboxError(f"the Docker engine could not {what}: {text}")


def _innermost(error: BaseException) -> str:
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    return str(error)
