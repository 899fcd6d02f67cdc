"""What goes wrong with an engine is one typed sentence."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cwm_env.errors import ImageError, InputError, SandboxError, SandboxUnavailable
from cwm_env.sandbox.docker.backend import DockerBackend
from cwm_env.sandbox.registry import backend as backend_named
from cwm_env.sandbox.run import run
from cwm_env.types import Image, Limits
from tests.docker.conftest import docker


def test_no_engine_says_where_it_was_looked_for(small: Image, tmp_path: Path) -> None:
    backend = DockerBackend(host=f"unix://{tmp_path}/none.sock")
    with pytest.raises(SandboxUnavailable, match=r"Docker engine at .*none\.sock does not answer"):
        backend.create(small, Limits())


def test_an_engine_that_goes_away_is_told_from_the_policy_s_doing(docker_backend: DockerBackend, small: Image) -> None:
    sandbox = docker_backend.create(small, Limits())
    process = sandbox.spawn(["sleep", "60"])
    docker("kill", sandbox.container)
    with pytest.raises(SandboxError, match="died"):
        process.wait(20)
    with pytest.raises(SandboxError, match="died"):
        sandbox.spawn(["true"])
    sandbox.stop()
    with pytest.raises(SandboxError, match="dead before it was stopped"):
        list(sandbox.changes("/repo"))
    sandbox.close()


def test_an_unknown_runtime_is_unavailable(small: Image) -> None:
    backend = DockerBackend("nosuch")
    with pytest.raises(SandboxUnavailable, match="cannot use that runtime"):
        backend.create(small, Limits())
    backend.close()


def test_kata_is_asked_for_by_name_and_unavailable_where_it_is_not_installed(small: Image) -> None:
    with contextlib.closing(DockerBackend()) as plain:
        assert "kata" not in plain.engine.info()["Runtimes"], "kata is installed here: write the test that runs it"
    backend = backend_named("docker:kata")
    with contextlib.closing(backend), pytest.raises(SandboxUnavailable) as raised:
        backend.create(small, Limits())
    said = str(raised.value)
    assert re.search(r"runtime.*\bkata\b", said), "the engine was asked for something else"
    assert said.endswith("install it and name it in daemon.json") and "\n" not in said


def test_an_image_of_this_machine_is_refused_with_the_remedy(docker_backend: DockerBackend, small: Image) -> None:
    with pytest.raises(ImageError, match="base 'host'"):
        docker_backend.create(replace(small, host_mounts=("/usr",)), Limits())


def test_an_unknown_backend_and_an_unknown_context_are_the_caller_s(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="there is no backend 'namespaces:fast'"):
        backend_named("namespaces:fast")
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv("DOCKER_CONTEXT", "nosuch")
    with pytest.raises(InputError, match="no Docker context 'nosuch'"):
        _ = DockerBackend().engine


def test_a_full_disk_of_the_engine_is_named_as_such() -> None:
    from cwm_env.errors import DiskFull
    from cwm_env.sandbox.docker.engine import _meaning

    said = "write /var/lib/x: no space left on device"
    assert isinstance(_meaning(said, "create a container"), DiskFull)


@pytest.mark.alone
def test_nothing_is_left_behind(small: Image) -> None:
    backend = DockerBackend()
    before = set(docker("ps", "--all", "--quiet").split())
    sandboxes = [backend.create(small, Limits()) for _ in range(3)]
    assert run(sandboxes[0], ["true"], timeout=10).exit_code == 0
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        run(sandboxes[0], ["true"], timeout=10)
    time.sleep(0.2)
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 4
    backend.close()
    assert set(docker("ps", "--all", "--quiet").split()) == before
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
