"""Engines that are reached as the docker command reaches them: over TLS, by contexts, and not over ssh."""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cwm_env.errors import SandboxUnavailable
from cwm_env.sandbox.docker.backend import DockerBackend
from cwm_env.session import BashSession
from cwm_env.types import Image, Limits
from tests.docker.conftest import ENGINE, docker

OPENSSL = """set -e
exec 2>/dev/null
new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1" -subj "/CN=$2" "${@:3}"; }
for name in good other; do
    mkdir $name
    new $name/ca-key.pem ca -x509 -out $name/ca.pem -days 2
    new $name/key.pem client -out $name/client.csr
    openssl x509 -req -in $name/client.csr -CA $name/ca.pem -CAkey $name/ca-key.pem -out $name/cert.pem -days 2
done
new server-key.pem localhost -out server.csr
openssl x509 -req -in server.csr -CA good/ca.pem -CAkey good/ca-key.pem -out server.pem -days 2 \
    -extfile <(echo subjectAltName=IP:127.0.0.1)
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of the engine, and of two clients: one that it knows, and one of another authority."""
    directory = tmp_path_factory.mktemp("certificates")
    subprocess.run(["bash", "-c", OPENSSL], cwd=directory, check=True)
    return directory


@pytest.fixture(scope="module")
def address(certificates: Path) -> Iterator[str]:
    """A listener with TLS before the engine; who has no certificate of its authority is not let in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server-key.pem")
    context.load_verify_locations(certificates / "good/ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=relay, args=(context, plain), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def relay(context: ssl.SSLContext, plain: socket.socket) -> None:
    """Carry bytes between one client and the engine, until either has enough."""
    assert ENGINE
    with socket.socket(socket.AF_UNIX) as engine, selectors.DefaultSelector() as selector:
        try:
            client = context.wrap_socket(plain, server_side=True)
        except (ssl.SSLError, OSError):
            plain.close()
            return
        with client:
            engine.connect(ENGINE.removeprefix("unix://"))
            selector.register(client, selectors.EVENT_READ, engine)
            selector.register(engine, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    source, target = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    try:
                        data = source.recv(1 << 16)
                        if source is client:
                            data += client.recv(client.pending()) if data and client.pending() else b""
                        if not data:
                            return
                        target.sendall(data)
                    except OSError:
                        return


def test_an_engine_behind_tls_is_one_like_any(
    address: str, certificates: Path, small: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certificates / "good"))
    works(DockerBackend(), small)
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certificates / "other"))
    with pytest.raises(SandboxUnavailable, match="does not answer"):
        DockerBackend().create(small, Limits())


def test_the_context_of_the_docker_command_is_taken(
    address: str, certificates: Path, small: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")  # without it the SDK finds no context
    good = certificates / "good"
    tls = f"host={address},ca={good}/ca.pem,cert={good}/cert.pem,key={good}/key.pem"
    docker("context", "create", "far", "--docker", tls)
    docker("context", "create", "near", "--docker", f"host={ENGINE}")
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    backend = DockerBackend()
    assert backend.engine.address == address
    works(backend, small)
    monkeypatch.delenv("DOCKER_CONTEXT")
    docker("context", "use", "near")
    backend = DockerBackend()
    assert backend.engine.address == ENGINE
    works(backend, small)


def test_an_engine_over_ssh_is_refused_with_the_way_that_works(
    small: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SandboxUnavailable, match=r"ssh -nNT -L .*:/var/run/docker\.sock user@far"):
        DockerBackend(host="ssh://user@far").create(small, Limits())
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")  # without it the SDK finds no context
    docker("context", "create", "far", "--docker", "host=ssh://user@far")
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    with pytest.raises(SandboxUnavailable, match="ssh -nNT"):
        DockerBackend().create(small, Limits())


def works(backend: DockerBackend, image: Image) -> None:
    """See that a session runs, with much in both directions."""
    sandbox = backend.create(image, Limits())
    session = BashSession(sandbox, env={"PATH": "/usr/bin:/bin"})
    assert session.run("head -c 300000 /dev/zero | tr '\\0' x | wc -c").output.strip() == "300000"
    data = os.urandom(3 << 20)
    sandbox.write_file("/tmp/data", data)
    assert sandbox.read_file("/tmp/data") == data
    session.close()
    backend.close()
