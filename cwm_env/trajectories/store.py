"""A file of trajectories: appended to by any number of threads and processes, read line by line."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from cwm_env.errors import DiskFull, TrajectoryError
from cwm_env.trajectories import codec
from cwm_env.types import Trajectory

LARGEST_LINE = 1 << 30
"""Bytes; a longer line is not read."""


class TrajectoryStore:
    """One file in the JSON Lines format. Nothing is open between calls."""

    def __init__(self, path: Path | str) -> None:
        """The file is made by the first ``append``."""
        self.path = Path(path)

    def append(self, trajectory: Trajectory) -> None:
        """Write one trajectory, whole or not at all, and on the disk before this returns.

        Raises:
            DiskFull: no space is left; the file is as it was.
            TrajectoryError: the file cannot be written.
        """
        line = codec.encode(trajectory)
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise TrajectoryError(f"{self.path}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            end = os.lseek(descriptor, 0, os.SEEK_END)
            try:
                _write(descriptor, _unfinished(descriptor, end) + line)
            except OSError as error:
                os.ftruncate(descriptor, end)
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise DiskFull(f"{self.path}: no space is left for a trajectory: free some and try again") from None
                raise TrajectoryError(f"{self.path}: cannot be written: {error.strerror}") from None
        finally:
            os.close(descriptor)

    def mend(self) -> None:
        """Cut off the line that a killed writer left unfinished, if there is one.

        Raises:
            TrajectoryError: the file cannot be written.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            raise TrajectoryError(f"{self.path}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.ftruncate(descriptor, _whole(descriptor, os.lseek(descriptor, 0, os.SEEK_END)))
        finally:
            os.close(descriptor)

    def __iter__(self) -> Iterator[Trajectory]:
        """Every trajectory, in the order written.

        Raises:
            TrajectoryError: the file, or a line of it, cannot be read; names the line.
        """
        try:
            with self.path.open("rb") as file:
                for number, line in enumerate(iter(lambda: file.readline(LARGEST_LINE), b""), start=1):
                    if line.strip():
                        yield self._decoded(line, number)
        except OSError as error:
            raise TrajectoryError(f"{self.path}: cannot be read: {error.strerror}") from None

    def _decoded(self, line: bytes, number: int) -> Trajectory:
        try:
            return codec.decode(line)
        except ValueError as error:
            raise TrajectoryError(f"{self.path}: line {number}: {error}") from None


def _unfinished(descriptor: int, end: int) -> bytes:
    """A newline where a writer was killed in the middle of a line, so that it spoils no other."""
    return b"" if end == 0 or os.pread(descriptor, 1, end - 1) == b"\n" else b"\n"


def _whole(descriptor: int, end: int) -> int:
    """Where the last whole line ends."""
    while end > 0:
        start = max(end - (1 << 16), 0)
        at = os.pread(descriptor, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)
