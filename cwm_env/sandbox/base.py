"""What a backend owes: the ``Sandbox`` and ``Process`` protocols, and what they may raise.

Three byte streams are all that a process in a sandbox gives its caller: standard input, output and error,
as descriptors of the calling process that a blocking driver polls and an event loop watches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from cwm_env.sandbox.usage import Usage
from cwm_env.types import Image, Limits

SHELL_LOOP = "/proc/self/fd/3"
"""Where a process that is given the session's loop finds it: a builtin for bash (``namespaces/native/shell``)."""


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


@dataclass(frozen=True, slots=True)
class Program:
    """What ``Sandbox.spawn`` is asked for."""

    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    cwd: str = "/"
    user: str = "root"
    shell_loop: bool = False


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One entry of a directory in a sandbox."""

    name: bytes
    kind: Literal["file", "directory", "link", "other"]
    mode: int
    """Permission bits."""
    size: int
    """Bytes."""
    modified: float
    """Seconds since 1970."""
    target: bytes = b""
    """Where a link points to."""


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
        shell_loop: bool = False,
    ) -> Process:
        """Start a process. ``env`` is its whole environment; ``argv[0]`` is looked up in its ``PATH``.

        A program that cannot be executed exits with 127 and says why on its standard error.

        Args:
            user: a name in the image's ``/etc/passwd``, or ``UID[:GID]``.
            shell_loop: give it, open as descriptor 3, what ``SHELL_LOOP`` names.

        Raises:
            SandboxError: the sandbox is dead, or its process limit leaves no room.
        """

    def kill_processes(self, *, keep: Collection[int] = (), started_after: float | None = None) -> int:
        """Kill every process, wherever in the sandbox it moved to, and wait until they are gone.

        Args:
            keep: ids inside the sandbox that are spared.
            started_after: spare what started before this moment of ``CLOCK_BOOTTIME``, to some 10 ms.

        Returns:
            How many were killed.

        Raises:
            SandboxError: the sandbox is dead, or a process would not die.
        """

    def usage(self) -> Usage:
        """What was used so far; costs about a tenth of a millisecond.

        Raises:
            SandboxError: the sandbox is dead.
        """

    def pause(self) -> None:
        """Stop every process until ``resume``. Files can be read and written meanwhile. Idempotent.

        Raises:
            SandboxError: the sandbox is dead, or a process would not stop.
        """

    def resume(self) -> None:
        """Let every process go on that ``pause`` stopped. Idempotent."""

    def read_file(self, path: str, *, limit: int = 64 << 20) -> bytes:
        """The content of a regular file. Links are followed inside the sandbox, with its root's rights.

        Raises:
            OSError: it is not there, not a regular file, or longer than ``limit`` bytes (``errno.EFBIG``).
            SandboxError: the sandbox is dead.
        """

    def stream_file(self, path: str) -> Iterator[bytes]:
        """As ``read_file``, in pieces, of any length; what is wrong with the file is raised instead of the first."""

    def write_file(self, path: str, data: bytes | Iterable[bytes], *, mode: int = 0o644, user: str = "root") -> None:
        """Make ``data`` the content of a regular file, piece by piece.

        Raises:
            OSError: it cannot be written; ``errno.ENOSPC`` at the disk limit.
            SandboxError: the sandbox is dead.
        """

    def list_files(self, path: str) -> list[FileInfo]:
        """The entries of a directory, sorted by name.

        Raises:
            OSError: it is not there, or not a directory.
            SandboxError: the sandbox is dead.
        """

    def archive(self, path: str) -> Iterator[bytes]:
        """A file or a whole directory as pieces of a tar archive, in bounded memory.

        Raises:
            OSError: it is not there, or cannot be read; while iterating.
            SandboxError: the sandbox is dead.
        """

    def extract(
        self,
        archive: bytes | Iterable[bytes],
        path: str,
        *,
        user: str = "root",
        max_bytes: int = 1 << 30,
        max_entries: int = 100_000,
    ) -> None:
        """Unpack a tar archive, inside the sandbox, into a directory; everything in it then belongs to ``user``.

        Raises:
            OSError: it is refused (a name that leads out, a link on the way, a device, too much), or does not fit.
            SandboxError: the sandbox is dead.
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

    def create(self, image: Image, limits: Limits, *, upper: Path | None = None) -> Sandbox:
        """Clone ``image``.

        Args:
            upper: an empty directory that receives all that is written, with the image's own ids on disk. None keeps
                what is written in memory, within the disk limit.

        Raises:
            SandboxUnavailable: this machine cannot.
            DiskFull: no space is left.
            SandboxError: it could not be made this time.
        """

    def fork(self, sandbox: Sandbox) -> Sandbox:
        """A new sandbox with the same image, limits and files. Processes are not copied; they go on in the old one.

        Raises:
            SandboxError: the sandbox is dead, or the copy could not be made.
            DiskFull: no space is left.
        """

    def snapshot(self, sandbox: Sandbox, directory: Path) -> Image:
        """The sandbox's files as an image: one more layer, in ``directory``, which must not exist yet.

        What lies in ``/tmp``, ``/run`` and ``/dev/shm`` is left out. The image lives as long as the directory.

        Raises:
            SandboxError: the sandbox is dead, or the copy could not be made.
            DiskFull: no space is left.
        """

    def close(self) -> None:
        """End every sandbox of this backend. Idempotent."""
