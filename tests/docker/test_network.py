"""The same policy words as on the embedded backend: names that are allowed are reached, and nothing else is."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from cwm_env.errors import InputError
from cwm_env.sandbox.docker.backend import DockerBackend
from cwm_env.sandbox.run import run
from cwm_env.types import Image, Limits
from tests.sandbox.test_network import fetch, port

__all__ = ["port"]


@pytest.fixture(params=["runc", "runsc"])
def engine_backend(
    request: pytest.FixtureRequest, docker_backend: DockerBackend, gvisor_backend: DockerBackend
) -> DockerBackend:
    return docker_backend if request.param == "runc" else gvisor_backend


@pytest.mark.parametrize("kind", ["connect", "plain", "socks"])
def test_what_is_allowed_is_reached(engine_backend: DockerBackend, debian: Image, port: int, kind: str) -> None:
    for host in ("127.0.0.1", "localhost"):
        said = fetch(engine_backend, debian, (f"{host}:{port}",), kind, host, port)
        assert said == "HTTP/1.0 200 OK you asked for /x?y"


@pytest.mark.parametrize("kind", ["connect", "socks"])
@pytest.mark.parametrize(
    ("allow", "host"),
    [
        ("example.org", "127.0.0.1"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("*.example.org:{port}", "example.org"),
        ("example.org:{port}", "example.org.evil.test"),
        ("*.localdomain:{port}", "localhost"),
    ],
)
def test_what_is_not_allowed_is_refused_and_noted(
    docker_backend: DockerBackend, debian: Image, port: int, kind: str, allow: str, host: str
) -> None:
    answer = fetch(docker_backend, debian, (allow.format(port=port),), kind, host, port)
    assert "may not be reached" in answer or "socks 2" in answer


def test_a_name_that_leads_to_the_machine_itself_is_refused(
    engine_backend: DockerBackend, debian: Image, port: int
) -> None:
    name = socket.gethostname()
    if any(ipaddress.ip_address(str(entry[4][0])).is_global for entry in socket.getaddrinfo(name, port)):
        pytest.skip(f"{name} is public here")
    assert "not a public one" in fetch(engine_backend, debian, (f"{name}:{port}",), "connect", name, port)


def test_connections_beyond_the_most_and_garbage_harm_no_other(
    engine_backend: DockerBackend, debian: Image, port: int
) -> None:
    sandbox = engine_backend.create(debian, Limits(network="allow", allow=(f"127.0.0.1:{port}",)))
    script = (
        "trap '' PIPE; "
        "for i in {1..200}; do exec {fd}<>/dev/tcp/127.0.0.1/3128 || break; printf '\\x05\\x01' >&$fd; done; "
        "for fd in /proc/$$/fd/*; do n=${fd##*/}; [ $n -gt 9 ] && exec {n}>&-; done; "
        "exec 3<>/dev/tcp/127.0.0.1/3128; printf 'nonsense' >&3; exec 3>&-; "
        f"for i in {{1..50}}; do exec 3<>/dev/tcp/127.0.0.1/3128; "
        f"printf 'CONNECT 127.0.0.1:{port} X\\r\\n\\r\\n' >&3; "
        'read -r said <&3 && echo "$said" && break; exec 3>&-; sleep 0.1; done'
    )
    done = run(sandbox, ["bash", "-c", script], timeout=60)
    assert b" 200 " in done.stdout, done
    sandbox.close()


def test_without_an_allow_list_there_is_no_door(docker_backend: DockerBackend, debian: Image) -> None:
    sandbox = docker_backend.create(debian, Limits())
    assert run(sandbox, ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/3128"], timeout=10).exit_code != 0
    sandbox.close()
    with pytest.raises(InputError):
        docker_backend.create(debian, Limits(network="allow", allow=("http://x/",)))
