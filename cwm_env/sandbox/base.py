"""What a backend owes: the ``Sandbox`` and ``Process`` protocols, and what they may raise.

Three byte streams are all that a process in a sandbox gives its caller: standard input, output and error,
as descriptors of the calling process that a blocking driver polls and an event loop watches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from cwm_env.types import Image, Limits


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs from the image. Content is carried as data; nothing of it is ever followed or run."""

    path: bytes
    """Relative to the directory asked for, any bytes but NUL."""
    kind: Literal["file", "link", "directory", "deleted", "other"]
    """``deleted`` removes whatever was there, ``directory`` exists after it; ``other`` is a device, pipe or socket."""
    mode: int = 0
    """Permission bits."""
    data: bytes = b""
    """A file's content, or a link's target."""


@runtime_checkable
class Process(Protocol):
    """A process in a sandbox, leader of its own process group."""

    pid: int
    """Its id inside the sandbox."""
    stdin: int
    """Descriptor to write to. The owner may close it early through ``close_stdin``."""
    stdout: int
    """Descriptor to read from, non-blocking."""
    stderr: int
    """Descriptor to read from, non-blocking."""

    exited: int
    """Descriptor that becomes readable when the process has ended, or its sandbox has died."""

    def close_stdin(self) -> None:
        """Let the process read end of file. Idempotent."""

    def interrupt(self) -> None:
        """Send SIGINT to the process group. No error if it is gone."""

    def kill(self) -> None:
        """Send SIGKILL to the process group. No error if it is gone."""

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code (128 + N after signal N), or None after ``timeout`` seconds.

        Raises:
            SandboxError: the sandbox died, so that nobody knows.
        """

    def close(self) -> None:
        """Release the descriptors. The process is not signalled. Idempotent."""


@runtime_checkable
class Sandbox(Protocol):
    """An isolated copy-on-write clone of an image that runs processes."""

    id: str

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "root",
    ) -> Process:
        """Start a process. ``env`` is its whole environment; ``argv[0]`` is looked up in its ``PATH``.

        A program that cannot be executed exits with 127 and says why on its standard error.

        Args:
            user: a name in the image's ``/etc/passwd``, or ``UID[:GID]``.

        Raises:
            SandboxError: the sandbox is dead, or its process limit leaves no room.
        """

    def kill_processes(self, *, keep: Collection[int] = (), started_after: float | None = None) -> int:
        """Kill every process, wherever in the sandbox it moved to, and wait until they are gone.

        Args:
            keep: ids inside the sandbox that are spared.
            started_after: spare what started before this moment of ``time.clock_gettime(CLOCK_BOOTTIME)``
                (the kernel's own resolution here is 10 ms).

        Returns:
            How many were killed.

        Raises:
            SandboxError: the sandbox is dead, or a process would not die.
        """

    def stop(self) -> None:
        """Kill everything, for good. ``changes`` still works; nothing else does. Idempotent."""

    def changes(self, path: str, *, skip: Collection[bytes] = (), limit: int = 64 << 20) -> Iterator[Change]:
        """What differs from the image below ``path``, parents before children, for a stopped sandbox.

        Args:
            skip: names that are left out wherever they stand, with all below them.
            limit: bytes of content, in all.

        Raises:
            ValueError: more than ``limit`` bytes changed: the policy's doing, for the caller to judge.
            SandboxError: the tree cannot be read.
        """

    def close(self) -> None:
        """Kill everything and free everything. Idempotent."""


class Backend(Protocol):
    """Makes sandboxes. One backend serves any number of threads."""

    def create(self, image: Image, limits: Limits) -> Sandbox:
        """Clone ``image``.

        Raises:
            SandboxUnavailable: this machine cannot.
            DiskFull: no space is left.
            SandboxError: it could not be made this time.
        """

    def close(self) -> None:
        """End every sandbox of this backend. Idempotent."""
