"""The same policy words as on the embedded backend: names that are allowed are reached, and nothing else is."""

from __future__ import annotations

import socket

import pytest

from cwm_env.errors import InputError
from cwm_env.sandbox.docker.backend import DockerBackend
from cwm_env.sandbox.run import run
from cwm_env.types import Image, Limits
from tests.sandbox.test_network import REFUSED, does_not_lead_home, is_reached, is_refused, port

__all__ = ["port"]


@pytest.fixture(params=["runc", "runsc"])
def engine_backend(
    request: pytest.FixtureRequest, docker_backend: DockerBackend, gvisor_backend: DockerBackend
) -> DockerBackend:
    return docker_backend if request.param == "runc" else gvisor_backend


@pytest.mark.parametrize("kind", ["connect", "plain", "socks"])
def test_what_is_allowed_is_reached(engine_backend: DockerBackend, debian: Image, port: int, kind: str) -> None:
    is_reached(engine_backend, debian, port, kind)


@pytest.mark.parametrize("kind", ["connect", "socks"])
@pytest.mark.parametrize(("allow", "host"), REFUSED)
def test_what_is_not_allowed_is_refused_and_noted(
    docker_backend: DockerBackend, debian: Image, port: int, kind: str, allow: str, host: str
) -> None:
    is_refused(docker_backend, debian, port, kind, allow, host)


def test_a_name_that_leads_to_the_machine_itself_is_refused(
    engine_backend: DockerBackend, debian: Image, port: int
) -> None:
    does_not_lead_home(engine_backend, debian, port, socket.gethostname())


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
