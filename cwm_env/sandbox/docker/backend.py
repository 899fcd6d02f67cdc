"""The Docker engine as a backend: one container an episode. ``runtime`` is a setting: ``runsc`` is gVisor."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from cwm_env.errors import InfrastructureError, SandboxError, SandboxUnavailable
from cwm_env.sandbox import rules
from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.docker import copies, labels, request
from cwm_env.sandbox.docker.channel import Channel
from cwm_env.sandbox.docker.engine import Engine
from cwm_env.sandbox.docker.images import reference
from cwm_env.sandbox.docker.pump import Pump
from cwm_env.sandbox.docker.sandbox import DockerSandbox
from cwm_env.sandbox.leases import Lease
from cwm_env.sandbox.namespaces.request import PROXY_ENV
from cwm_env.sandbox.proxy import Proxy, Refusal
from cwm_env.types import Image, Limits


class DockerBackend:
    """Makes sandboxes that are containers. Thread-safe; it connects to the engine when it is first used."""

    def __init__(self, runtime: str | None = None, *, host: str | None = None, starts: int = 8) -> None:
        """
        Args:
            runtime: what runs the containers, by its name in the engine's configuration: ``runc``, ``runsc``
                (gVisor), ``kata``, …; None takes the engine's default.
            host: the engine's address; None finds it as the ``docker`` command does (``Engine``).
            starts: how many containers are created at the same time, so that the engine is not flooded.
        """
        self._runtime, self._host = runtime, host
        self._starts = threading.BoundedSemaphore(max(starts, 1))
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._alive: set[DockerSandbox] = set()
        self._images: set[str] = set()
        self._engine: Engine | None = None
        self._reset()

    def _reset(self) -> None:
        self._lease: Lease | None = None
        self._pump: Pump | None = None
        self._quota: bool | None = None
        self._proxy = Proxy()
        self._numbers = itertools.count(1)

    @property
    def engine(self) -> Engine:
        """The connection. At the first use, what makers that died have left on the engine is removed.

        Raises:
            SandboxUnavailable: no engine answers.
        """
        with self._lock:
            if self._owner != os.getpid():  # a fork shares the sockets of the process that made them
                self._alive, self._images, self._engine = set(), set(), None
                self._owner = os.getpid()
                self._reset()
            if self._engine is None:
                engine = Engine(self._host)
                labels.reap(engine)
                self._lease, self._pump = Lease(), Pump()
                self._engine = engine
            return self._engine

    def info(self) -> Mapping[str, str]:
        """How each limit is enforced here: limit to means, ``not enforced`` where it is not."""
        assert self.engine
        return request.enforced(self._runtime, quota=bool(self._quota))

    def create(self, image: Image, limits: Limits, *, upper: Path | None = None) -> DockerSandbox:
        """Clone ``image``, which is brought to the engine first if it is not there.

        Raises:
            SandboxUnavailable: no engine answers, or it lacks the runtime; or ``upper`` is given, which only the
                embedded backend can do.
            ImageError: the image shows directories of this machine (base ``host``), which no container has.
            DiskFull: the engine has no space left.
            SandboxError: it could not be made this time.
        """
        if upper is not None:
            raise SandboxUnavailable(
                "a container writes to the engine's own storage: build images on the embedded backend"
            )
        return self._create(reference(self.engine, image), image, limits)

    def fork(self, sandbox: Sandbox) -> DockerSandbox:
        """A new sandbox with the same image, limits and files. Processes are not copied; they go on in the old one.

        Raises:
            SandboxError: the sandbox is dead, or the copy could not be made.
            DiskFull: no space is left.
        """
        source = _own(sandbox)
        with _held(source):
            copy = self._commit(source)
            try:
                made = self._create(copy, source.image, source.limits)
                try:
                    copies.copy_scratch(source, made)
                except BaseException:
                    made.close()
                    raise
                return made
            except BaseException:
                labels.remove_image(self.engine, copy)
                self._images.discard(copy)
                raise

    def snapshot(self, sandbox: Sandbox, directory: Path) -> Image:
        """The sandbox's files as an image: one more layer, in ``directory``, which must not exist yet.

        Raises:
            SandboxError: the sandbox is dead, or the copy could not be made.
            DiskFull: no space is left.
        """
        source = _own(sandbox)
        directory.mkdir(parents=True)
        with _held(source):
            copy = self._commit(source)
        copies.save_top_layer(self.engine, copy, directory)
        layers = (*source.image.layers, directory)
        return replace(source.image, name=directory.name, digest=copy, layers=layers)

    def refused(self, sandbox: Sandbox) -> tuple[Refusal, ...]:
        """What a sandbox with network ``allow`` tried to reach and was refused, the latest thousand attempts."""
        return self._proxy.refused(sandbox.id)

    def close(self) -> None:
        """End every sandbox of this backend. Idempotent; the backend can be used again afterwards."""
        with self._lock:
            alive, self._alive = self._alive, set()
            images, self._images = self._images, set()
            engine, lease, pump, proxy = self._engine, self._lease, self._pump, self._proxy
            self._engine = None
            self._reset()
        if engine is None or self._owner != os.getpid():
            return
        with contextlib.ExitStack() as last:
            last.callback(engine.close)
            last.callback(proxy.close)
            if lease:
                last.callback(lease.end)
            if pump:
                last.callback(pump.close)
            for image in images:
                last.callback(labels.remove_image, engine, image)
            for sandbox in alive:
                last.callback(sandbox.close)

    def _create(self, image: str, described: Image, limits: Limits) -> DockerSandbox:
        allowed = rules.parse(limits.allow)
        engine, lease, pump, proxy = self.engine, self._lease, self._pump, self._proxy
        assert lease and pump
        name = lease.name(next(self._numbers))
        with self._starts:
            container = self._create_container(engine, name, image, limits, labels.labels(lease))
            try:
                with engine.doing("copy a file into a container"):
                    engine.api.put_archive(container, "/", request.program_archive())
                channel = Channel(pump, engine.attach(container))
                if limits.network == "allow":
                    proxy.let_in(name, allowed)
                    channel.on_connection = partial(proxy.connect, name)
                made = DockerSandbox(name, container, described, limits, engine, channel, self._forget)
                made.extra_env = PROXY_ENV if limits.network == "allow" else {}
                with engine.doing("start a container"):
                    engine.api.start(container)
                made.begin(request.limits_message(limits, self._runtime))
            except BaseException:
                proxy.end(name)
                with contextlib.suppress(InfrastructureError):
                    labels.remove_container(engine, container)
                raise
        with self._lock:
            self._alive.add(made)
        return made

    def _create_container(self, engine: Engine, name: str, image: str, limits: Limits, marks: Mapping[str, str]) -> str:
        """Only a try tells whether the engine's storage has quotas."""
        quota = self._quota is not False
        body = request.container(image, limits, marks, self._runtime, quota=quota)
        try:
            with engine.doing("create a container"):
                container: str = engine.api.create_container_from_config(body, name=name)["Id"]
        except SandboxError as error:
            if quota and "storage" in str(error) and "opt" in str(error):
                self._quota = False
                return self._create_container(engine, name, image, limits, marks)
            raise
        self._quota = quota
        return container

    def _commit(self, source: DockerSandbox) -> str:
        """What a sandbox's files are now, as an image of the engine; its id."""
        assert self._lease
        copy = copies.commit(self.engine, source.container, labels.labels(self._lease))
        with self._lock:
            self._images.add(copy)
        return copy

    def _forget(self, gone: DockerSandbox) -> None:
        with self._lock:
            self._alive.discard(gone)
        self._proxy.end(gone.id)


def _own(sandbox: Sandbox) -> DockerSandbox:
    if not isinstance(sandbox, DockerSandbox):
        raise SandboxError(f"sandbox {sandbox.id} is another backend's: fork it there")
    return sandbox


@contextlib.contextmanager
def _held(sandbox: DockerSandbox) -> Iterator[None]:
    """While nothing in it moves."""
    sandbox.pause()
    try:
        yield
    finally:
        sandbox.resume()
