"""Making and ending sandboxes leaves nothing behind. ``CWM_ENV_CYCLES=10000`` counts over as many as are promised."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cwm_env.sandbox import leases
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.types import Image, Limits
from tests.sandbox.test_lifecycle import eventually
from tests.sandbox.tools import mounts_left, shell

pytestmark = pytest.mark.alone

CYCLES = int(os.environ.get("CWM_ENV_CYCLES", "400"))
NAMESPACE_CACHES = ("net_namespace", "pid_namespace", "user_namespace", "nsproxy", "shmem_inode_cache", "ovl_inode")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NamespacesBackend]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    made = NamespacesBackend()
    yield made
    made.close()


def children(pid: int) -> set[str]:
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def descriptors(pid: int | str) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def resident(pid: int) -> int:
    """KiB."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS"))


def slab() -> dict[str, int]:
    """Objects alive of the kernel's own, where root may see them."""
    try:
        rows = [row.split() for row in Path("/proc/slabinfo").read_text().splitlines()[2:]]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if row[0] in NAMESPACE_CACHES}


def networks() -> set[str]:
    """Network namespaces of all processes of the machine."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        with contextlib.suppress(OSError):
            found.add(str(link.readlink()))
    return found


def cycle(backend: NamespacesBackend, image: Image, number: int) -> None:
    sandbox = backend.create(image, Limits())
    if number % 20 == 0:
        shell(sandbox, "echo x > /tmp/x; rm -r /root; setsid sleep 60 & echo y > /repo/y")
        sandbox.usage()
        if number % 100 == 0:
            backend.fork(sandbox).close()
            sandbox.stop()
            list(sandbox.changes("/repo"))
    sandbox.close()


def test_cycles_of_making_and_ending_leak_nothing(own: NamespacesBackend, image: Image) -> None:
    for number in range(50):
        cycle(own, image, number)
    spawners = own.spawner_pids()
    here = descriptors("self")
    theirs = [(descriptors(pid), resident(pid)) for pid in spawners]
    assert mounts_left(str(image.layers[0])) == []
    files = set(leases.runtime_dir().rglob("*"))
    before, others = slab(), networks()
    for number in range(CYCLES):
        cycle(own, image, number)
    assert own.spawner_pids() == spawners
    assert descriptors("self") == here
    assert mounts_left(str(image.layers[0])) == []
    assert set(leases.runtime_dir().rglob("*")) == files
    assert eventually(lambda: all(children(pid) == set() for pid in spawners))
    for pid, (their_descriptors, their_memory) in zip(spawners, theirs, strict=True):
        assert descriptors(pid) == their_descriptors
        assert resident(pid) < their_memory + 256
    assert eventually(lambda: groups(own) == [])

    def slab_is_as_before() -> bool:
        # The kernel frees objects when it likes, and what others on this machine have begun meanwhile has its own.
        spare = CYCLES / 4 + 200 + 100 * len(networks() - others)
        return all(slab()[name] <= count + spare for name, count in before.items())

    assert eventually(slab_is_as_before, 30)


def groups(backend: NamespacesBackend) -> list[Path]:
    """Control groups of this test's own leases: other tests have theirs."""
    ids = [path.name for path in leases.runtime_dir().glob("leases/*")]
    return [group for home in backend.cgroups.directories for one in ids for group in home.glob(f"cwm-{one}-*")]


def test_failures_on_the_way_leak_nothing_either(own: NamespacesBackend, image: Image, tmp_path: Path) -> None:
    trap = tmp_path / "layer"
    trap.mkdir()
    (trap / "proc").symlink_to("/")
    bad = Image("bad", "sha256:1", (trap,))
    own.create(image, Limits()).close()

    def fail() -> None:
        with pytest.raises(Exception, match="cannot be used"):
            own.create(bad, Limits())

    fail()
    here = descriptors("self")
    for _ in range(40):
        fail()
    assert descriptors("self") == here
    assert eventually(lambda: all(children(pid) == set() for pid in own.spawner_pids()))
