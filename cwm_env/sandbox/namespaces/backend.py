"""The embedded backend: asks spawners for sandboxes. No daemon and no root."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cwm_env.errors import SandboxError
from cwm_env.sandbox import cgroups as control_groups
from cwm_env.sandbox import leases, rules
from cwm_env.sandbox.base import Process, Program, Sandbox
from cwm_env.sandbox.handover import Handover
from cwm_env.sandbox.namespaces import adoption, files, ids, request, wire
from cwm_env.sandbox.namespaces.pool import WarmPool
from cwm_env.sandbox.namespaces.sandbox import NamespaceSandbox
from cwm_env.sandbox.namespaces.spawner import Spawner, SpawnerDied, Spawners
from cwm_env.sandbox.proxy import Proxy, Refusal
from cwm_env.types import Image, Limits

_COPY_SECONDS = 1800.0


class NamespacesBackend:
    """Makes sandboxes of Linux namespaces and an overlay. Thread-safe; its spawners start when they are needed."""

    def __init__(self, *, spawners: int = 2, cgroups: control_groups.Cgroups | None = None) -> None:
        """
        Args:
            spawners: how many processes make sandboxes at the same time.
            cgroups: control groups to use; None looks for those that this process may use.
                ``cgroups.find().crowded()`` lets thousands whose commands are short step faster, without ``cpus``.
        """
        self._lock = threading.Lock()
        self._cgroups = cgroups
        self._spawners = Spawners(max(spawners, 1))
        self._ranges = ids.IdRanges()
        self._proxy = Proxy()
        self._pools: dict[tuple[str, tuple[Path, ...], Limits], WarmPool] = {}
        self._owner = os.getpid()
        self._alive: set[NamespaceSandbox] = set()

    @property
    def cgroups(self) -> control_groups.Cgroups:
        """The control groups that limit this backend's sandboxes."""
        if self._cgroups is None:
            self._cgroups = control_groups.find()
        return self._cgroups

    def info(self) -> Mapping[str, str]:
        """How each limit is enforced here: limit to means, ``not enforced`` where it is not."""
        return request.enforced(self.cgroups)

    def create(self, image: Image, limits: Limits, *, upper: Path | None = None) -> NamespaceSandbox:
        """Clone ``image``.

        Args:
            upper: an empty directory that receives all that is written, with the image's own ids on disk; a
                directory ``<upper>.work`` beside it is used and removed. None keeps what is written in memory.

        Raises:
            SandboxUnavailable: the kernel refuses what a sandbox needs; ``cwm-env doctor`` says what mends it.
            DiskFull: no space is left.
            SandboxError: it could not be made this time.
        """
        pool = None if upper else self._pools.get(_kind(image, limits))
        return (pool.take() if pool else None) or self._create(image, limits, upper)

    def warm(
        self, image: Image, limits: Limits, *, size: int, rate: float = 100.0, program: Program | None = None
    ) -> None:
        """Keep sandboxes ready, so that ``create`` with the same image and limits takes no time.

        Args:
            size: how many; 0 ends it.
            rate: how many are made a second, at most.
            program: is started in each of them, and returned by the first ``spawn`` with the very same arguments.
        """
        with self._lock:
            old = self._pools.pop(_kind(image, limits), None)
        if old:
            old.close()
        if size <= 0:
            return

        def make() -> NamespaceSandbox:
            made = self._create(image, limits, None)
            if program:
                made.start_ahead(program)
            return made

        with self._lock:
            self._pools[_kind(image, limits)] = WarmPool(make, size, rate)

    def fork(self, sandbox: Sandbox) -> NamespaceSandbox:
        """A new sandbox with the same image, limits and files. Processes are not copied; they go on in the old one.

        Raises:
            SandboxError: the sandbox is dead, or the copy could not be made.
            DiskFull: no space is left.
        """
        source = adoption.own(sandbox)
        return self._copy(source, source.image, source.limits, None, what=4)

    def snapshot(self, sandbox: Sandbox, directory: Path) -> Image:
        """The sandbox's files as an image: one more layer, in ``directory``, which must not exist yet.

        Raises:
            SandboxError: the sandbox is dead, or the copy could not be made.
            DiskFull: no space is left.
        """
        source = adoption.own(sandbox)
        directory.mkdir(parents=True)
        directory.chmod(0o755)
        # The layers below are not needed to write this one: an empty sandbox of the image takes the copy.
        self._copy(source, source.image, source.limits, directory, what=1).close()
        return replace(
            source.image,
            name=directory.name,
            digest=f"snapshot:{source.id}",
            layers=(*source.image.layers, directory),
        )

    def pools(self) -> list[WarmPool]:
        """The pools that ``warm`` filled."""
        return list(self._pools.values())

    def spawner_pids(self) -> list[int]:
        """Process ids of the spawners that run now."""
        return self._spawners.pids()

    def refused(self, sandbox: Sandbox) -> tuple[Refusal, ...]:
        """What a sandbox with network ``allow`` tried to reach and was refused, the latest thousand attempts."""
        return self._proxy.refused(sandbox.id)

    def fill(self, layer: Path, archive: int) -> None:
        """Unpack an archive into the empty directory ``layer``, inside a sandbox, with all that an overlay knows.

        Args:
            archive: descriptor to read; names begin with the directory that receives what a sandbox writes.

        Raises:
            SandboxError: it is not one that can be unpacked.
            DiskFull: no space is left.
        """
        with tempfile.TemporaryDirectory(prefix="cwm-env-") as below:
            for name in ("proc", "dev", "tmp", "run"):  # what is mounted over would be made in the layer
                (Path(below) / name).mkdir()
            Path(below).chmod(0o755)
            image = Image("nothing", "sha256:0", (Path(below),))
            self._create(image, Limits(memory=8 << 30), layer, seed=archive).close()

    def close(self) -> None:
        """End every sandbox and the spawners. Idempotent; the backend can be used again afterwards.

        Does nothing in a fork of the process that made them: they are that process's.
        """
        if self._owner != os.getpid():
            return
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()
        with self._lock:
            alive, self._alive = self._alive, set()
        for sandbox in alive:
            sandbox.close()
        self._spawners.close()
        self._proxy.close()

    def makers(self) -> Mapping[str, Handover]:
        """As ``Portable.makers``."""
        return {spawner.lease.id: spawner.hand_over() for spawner in self._spawners.alive()}

    def hand_over(self, sandbox: Sandbox, process: Process) -> Handover:
        """As ``Portable.hand_over``."""
        return adoption.pack(sandbox, process)

    def adopt_maker(self, maker: Handover) -> None:
        """As ``Portable.adopt_maker``."""
        self._spawners.adopt(Spawner(self.cgroups, maker), self.cgroups)

    def adopt(self, handover: Handover, image: Image, limits: Limits) -> tuple[NamespaceSandbox, Process]:
        """As ``Portable.adopt``."""
        self._ranges.adopt(handover.about["base"])
        made, process = adoption.unpack(handover, image, limits, self.cgroups, self._forget)
        if made.listener >= 0:
            made.extra_env = request.PROXY_ENV
            self._proxy.serve(made.id, os.dup(made.listener), rules.parse(limits.allow))
        with self._lock:
            self._alive.add(made)
        return made, process

    def _copy(
        self, source: NamespaceSandbox, image: Image, limits: Limits, upper: Path | None, *, what: int
    ) -> NamespaceSandbox:
        """A sandbox that begins with the first ``what`` written directories of another one."""
        source.pause()
        try:
            tool = source.start_tool("export", what)
            os.set_blocking(tool.stdout, True)  # the new sandbox reads it with plain reads
            try:
                made = self._create(image, limits, upper, seed=tool.stdout)
                try:
                    files.finish(tool)
                except BaseException:
                    made.close()
                    raise
                return made
            except OSError as error:
                raise SandboxError(f"sandbox {source.id} could not be copied: {error}") from error
            finally:
                files.drop(tool)
        finally:
            source.resume()

    def _create(self, image: Image, limits: Limits, upper: Path | None, seed: int | None = None) -> NamespaceSandbox:
        request.check(image)
        allowed = rules.parse(limits.allow)
        descriptors = [] if seed is None else [seed]
        self._disown_after_fork()
        for _ in range(self._spawners.count + 1):
            spawner = self._spawners.choose(self.cgroups)
            name, base = spawner.next_name(), self._ranges.take()
            stage = _stage(spawner, name, upper)

            def forget(gone: NamespaceSandbox, spawner: Spawner = spawner) -> None:
                self._forget(gone)
                _unstage(spawner, gone.id, upper)

            fields = request.creation(image, limits, name, base, stage, self.cgroups)
            if seed is not None:
                fields.append(("seed", 1))
            try:
                control, exited = spawner.create(wire.encode(fields), descriptors)
            except SpawnerDied:
                self._ranges.give_back(base)
                _unstage(spawner, name, upper)
                self._spawners.drop(spawner)
                continue
            except OSError as error:
                self._ranges.give_back(base)
                _unstage(spawner, name, upper)
                raise request.translated(error) from None
            if seed is not None:
                control.settimeout(_COPY_SECONDS)
            made = NamespaceSandbox(name, image, limits, control, exited, self.cgroups, forget)
            made.base = base
            return self._ready(made, allowed)
        raise SandboxError("the spawners of sandboxes died one after another")

    def _forget(self, gone: NamespaceSandbox) -> None:
        with self._lock:
            self._alive.discard(gone)
        self._ranges.give_back(gone.base)
        self._proxy.end(gone.id)

    def _disown_after_fork(self) -> None:
        """A fork of the process that made them must not touch its sandboxes, nor speak on their sockets."""
        with self._lock:
            if self._owner != os.getpid():
                self._alive.clear()
                self._proxy, self._pools = Proxy(), {}
                self._spawners.disown()
                self._owner = os.getpid()

    def _ready(self, made: NamespaceSandbox, allowed: tuple[rules.Rule, ...]) -> NamespaceSandbox:
        try:
            for listener in made.wait_ready():
                made.extra_env, made.listener = request.PROXY_ENV, os.dup(listener)
                self._proxy.serve(made.id, listener, allowed)
        except OSError as error:
            made.close()
            raise request.translated(error) from None
        except BaseException:
            made.close()
            raise
        with self._lock:
            self._alive.add(made)
        return made


def _kind(image: Image, limits: Limits) -> tuple[str, tuple[Path, ...], Limits]:
    return image.digest, image.layers, limits


def _stage(spawner: Spawner, name: str, upper: Path | None) -> Path | None:
    if upper is None:
        return None
    spawner.lease.note_upper(name, upper)
    return leases.make_stage(upper)


def _unstage(spawner: Spawner, name: str, upper: Path | None) -> None:
    if upper is not None:
        leases.release_stage(upper)
        spawner.lease.forget_upper(name)
