"""The embedded backend: asks a spawner for sandboxes. No daemon, no root, no compiler."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

from cwm_env.errors import DiskFull, SandboxError, SandboxUnavailable
from cwm_env.sandbox.namespaces import wire
from cwm_env.sandbox.namespaces.sandbox import NamespaceSandbox
from cwm_env.types import Image, Limits

_PACKAGE_ROOT = str(Path(__file__).resolve().parents[3])
_START = "import sys; sys.path.insert(0, {root!r}); from cwm_env.sandbox.namespaces.spawner import main; main({fd})"
_ANSWER_SECONDS = 30.0
_UNAVAILABLE = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EUSERS, errno.ENOSPC)


class NamespacesBackend:
    """Makes sandboxes of Linux namespaces and an overlay. Thread-safe; one spawner process, started when needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spawner: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._alive: set[NamespaceSandbox] = set()

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
        missing = [layer for layer in image.layers if not layer.is_dir()]
        if missing or not image.layers:
            raise SandboxError(f"image {image.name} has lost its layer {missing[:1]}: build it again")
        stage = _stage_of(upper) if upper else None
        request = {
            "layers": [str(layer) for layer in image.layers],
            "upper": stage and str(stage),
            "host_mounts": list(image.host_mounts),
            "hidden": list(image.hidden),
            "disk": limits.disk,
            "processes": limits.processes,
            "network": limits.network,
        }
        try:
            control, exited = self._ask(request)
        except BaseException:
            if upper:
                _release_stage(upper)
            raise
        sandbox = NamespaceSandbox(control, exited, on_close=lambda: self._forget(sandbox, upper))
        try:
            sandbox.wait_ready()
        except OSError as error:
            sandbox.close()
            raise _translated(error) from None
        except BaseException:
            sandbox.close()
            raise
        with self._lock:
            self._alive.add(sandbox)
        return sandbox

    def close(self) -> None:
        """End every sandbox and the spawner. Idempotent; the backend can be used again afterwards."""
        for sandbox in list(self._alive):
            sandbox.close()
        with self._lock:
            self._drop_spawner()

    def _forget(self, sandbox: NamespaceSandbox, upper: Path | None) -> None:
        with self._lock:
            self._alive.discard(sandbox)
        if upper:
            _release_stage(upper)

    def _ask(self, request: wire.Message) -> tuple[socket.socket, int]:
        """Ask the spawner, starting it anew once if it has died."""
        with self._lock:
            for attempt in (1, 2):
                spawner = self._running_spawner()
                try:
                    wire.send(spawner, request)
                    answer, descriptors = wire.receive(spawner)
                    break
                except (OSError, EOFError) as error:
                    self._drop_spawner()
                    if attempt == 2:
                        raise SandboxError(f"the spawner of sandboxes died twice in a row: {error}") from error
        if "error" in answer:
            raise _translated(OSError(answer["errno"], answer["error"]))
        control = socket.socket(fileno=descriptors[0])
        control.settimeout(_ANSWER_SECONDS)
        return control, descriptors[1]

    def _running_spawner(self) -> socket.socket:
        if self._owner != os.getpid():
            # A fork of the process that started it shares the socket and must not speak on it.
            self._spawner = self._process = None
            self._alive.clear()
        if self._spawner is None:
            ours, theirs = socket.socketpair()
            code = _START.format(root=_PACKAGE_ROOT, fd=theirs.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", code],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C in the terminal is for us to handle
                env={},
                cwd="/",
            )
            theirs.close()
            ours.settimeout(_ANSWER_SECONDS)
            self._spawner, self._owner = ours, os.getpid()
        return self._spawner

    def _drop_spawner(self) -> None:
        if self._spawner is not None and self._owner == os.getpid():
            self._spawner.close()
            assert self._process is not None
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._spawner = self._process = None


def _stage_of(upper: Path) -> Path:
    """A directory that holds ``upper`` and the overlay's work directory, which must share one mount."""
    stage = upper.with_name(upper.name + ".work")
    stage.mkdir(mode=0o755)
    (stage / "work").mkdir()
    upper.rename(stage / "upper")
    return stage


def _release_stage(upper: Path) -> None:
    stage = upper.with_name(upper.name + ".work")
    if stage.is_dir():
        (stage / "upper").rename(upper)
        for own in (stage / "work").iterdir():
            own.chmod(0o700)  # overlayfs makes it with no rights at all, and keeps its whiteout in it
        shutil.rmtree(stage)


def _translated(error: OSError) -> SandboxError:
    """What an error on the way to a sandbox means to the caller."""
    text = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT) and "clone" not in text:
        return DiskFull(f"no space is left for a sandbox ({text}): free some and try again")
    if error.errno in _UNAVAILABLE:
        return SandboxUnavailable(
            f"this machine does not let us make a sandbox ({text}): run `cwm-env doctor` to see what mends it"
        )
    return SandboxError(f"a sandbox could not be made: {text}")
