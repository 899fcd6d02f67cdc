"""``RemoteEnv`` is ``BashEnv``: the same tests, with the episode on a server."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import gymnasium
import pytest

from cwm_env import RemoteEnv
from cwm_env.client.aio import AsyncClient
from cwm_env.errors import InputError, RemoteError
from tests.envs import test_bash_env as local
from tests.envs.test_bash_env import *  # noqa: F403 - the very same tests
from tests.server.conftest import Server

del test_make_knows_the_environment_whatever_is_imported_first  # noqa: F821 - of Bash-v0 alone


@pytest.fixture(autouse=True)
def remote(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests take for ``BashEnv`` and ``Bash-v0`` is ours."""
    monkeypatch.setattr(local, "BashEnv", partial(RemoteEnv, url=server.url))
    monkeypatch.setattr(gymnasium, "make", partial(_make, server.url, gymnasium.make))


@pytest.fixture
def env(small_task: Path, server: Server) -> Iterator[RemoteEnv]:
    """An environment of the small task, not yet reset."""
    made = RemoteEnv(small_task, url=server.url)
    yield made
    made.close()


def _make(url: str, make: object, name: str, **arguments: object) -> object:
    assert name == "cwm_env:Bash-v0" and callable(make)
    return make("cwm_env:Remote-v0", url=url, **arguments)


def test_a_server_that_is_away_is_said(small_task: Path) -> None:
    with pytest.raises(RemoteError, match=r"127\.0\.0\.1:9 cannot be reached"):
        RemoteEnv(small_task, url="http://127.0.0.1:9", patience=0.2)
    with pytest.raises(InputError, match="must be like http://HOST:PORT"):
        RemoteEnv(small_task, url="localhost:8000")


def test_files_go_into_the_sandbox_and_come_out(env: RemoteEnv) -> None:
    env.reset()
    assert env.sandbox is not None
    env.sandbox.write_file("/tmp/in", bytes(range(256)) * 1000)
    assert env.step("sha256sum < /tmp/in; cp /tmp/in /tmp/out")[4]["result"].exit_code == 0
    assert env.sandbox.read_file("/tmp/out") == bytes(range(256)) * 1000
    with pytest.raises(InputError):
        env.sandbox.read_file("/nosuch")


def test_a_file_larger_than_its_reader_wants_is_not_taken(env: RemoteEnv) -> None:
    env.reset()
    assert env.sandbox is not None
    env.step("truncate -s 1T /tmp/trap; printf 12345 > /tmp/small; head -c 64M /dev/zero > /tmp/dense")
    for read, path in ((env.sandbox.read_file, "/tmp/trap"), (env.sandbox.archive, "/tmp/dense")):
        tracemalloc.start()
        with pytest.raises(InputError, match="it is longer than 1048576 bytes"):
            read(path, limit=1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
        tracemalloc.stop()
    assert env.sandbox.read_file("/tmp/small", limit=5) == b"12345"
    with pytest.raises(InputError, match="longer than 4 bytes"):
        env.sandbox.read_file("/tmp/small", limit=4)
    assert env.step("echo on")[0].startswith("on")


def test_the_asynchronous_client_bounds_a_file_as_well(server: Server, small_task: Path) -> None:
    async def main() -> None:
        async with AsyncClient(server.url) as client:
            episode = await client.create(str(small_task))
            await episode.step("truncate -s 1T /tmp/trap; printf 12345 > /tmp/small")
            with pytest.raises(InputError, match="it is longer than 1048576 bytes"):
                await episode.read_file("/tmp/trap", limit=1 << 20)
            assert await episode.read_file("/tmp/small", limit=5) == b"12345"
            with pytest.raises(InputError, match="longer than 4 bytes"):
                await episode.read_file("/tmp/small", limit=4)
            await episode.close()

    asyncio.run(main())
