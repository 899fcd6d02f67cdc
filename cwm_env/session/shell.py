"""One bash process, and how one talks with it: written once, for every way of waiting.

What takes time is a generator. It yields a ``Wait`` or a ``Call`` where it cannot go on, and a driver answers: the
blocking one polls and calls, the asyncio one goes back to its event loop. Reading and writing never block.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import select
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from cwm_env.sandbox.base import Process
from cwm_env.session.output import Output
from cwm_env.session.protocol import Done, Jobs, ShellProtocol, State

_LARGE_PIPE = 1 << 20  # what a flood gets, so that bash and the host change places less often


@dataclass(slots=True)
class Wait:
    """Wait until a watched descriptor is ready; the answer is which are, and none when time is up."""

    deadline: float
    """Of ``time.monotonic()``. May be moved while it is waited for."""


@dataclass(frozen=True, slots=True)
class Call:
    """Call something that blocks for a moment; the answer is what it returns, or its exception is thrown in."""

    work: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of output as it came, handed out while the command runs."""

    time: float
    """Seconds since the command was started."""
    text: str


Answered = TypeVar("Answered")
Steps = Generator[Wait | Call | Chunk, Any, Answered]
"""What a driver carries through: yields what it waits for, and returns ``Answered``."""


class Watcher(Protocol):
    """What a driver offers while a generator runs: to watch descriptors until told otherwise."""

    def watch(self, descriptor: int, *, writing: bool = False, late: bool = False) -> None:
        """Report when it can be read, or written to; ``late``: it does no harm to report it a moment later."""

    def unwatch(self, descriptor: int) -> None:
        """No longer report it."""


class Marks(Protocol):
    """Where a session notes how far it has got, for who goes on with its bash when this process was killed.

    Each note is made before what it tells of is done.
    """

    def gives(self, nonce: bytes, size: int, shell: int) -> None:
        """A command of so many bytes is given to the bash whose process id is ``shell``."""

    def reads_status(self) -> None:
        """Something is read of what bash says of itself."""

    def reads_output(self) -> None:
        """Something is read of what the command prints."""

    def started(self, process: Process) -> None:
        """Another bash was started in place of the last."""


class Shell:
    """A bash process and its three channels."""

    def __init__(self, process: Process, protocol: ShellProtocol, watcher: Watcher, marks: Marks | None = None) -> None:
        """Take over ``process``, which was started as ``protocol.ARGV``."""
        self.process = process
        self.protocol = protocol
        self.marks = marks
        self._watcher = watcher
        os.set_blocking(process.stdin, False)
        self._pipe_size = fcntl.fcntl(process.stdout, fcntl.F_GETPIPE_SZ)
        # The status channel first: when it alone is ready, all output of the command has been read before.
        self._watched = [process.stderr, process.stdout, process.exited]
        self._now = select.poll()
        for descriptor in self._watched:
            watcher.watch(descriptor, late=descriptor == process.stdout)
        for descriptor in (process.stdout, process.exited):
            self._now.register(descriptor, select.POLLIN)
        self.taken: State | None = None
        self.jobs: Jobs | None = None
        self.lost = False
        """Whether bash has died under the last exchange."""
        self.torn = False
        """Whether half a request was written, after which nothing can be said to bash any more."""

    def exchange(
        self, request: bytes, output: Output, wait: Wait, live: Callable[[bytes], Chunk] | None = None
    ) -> Steps[Done | None]:
        """Write a request and read until it is answered; None when bash has died or time is up.

        Args:
            live: makes of each piece of output the chunk that is handed out.
        """
        stdin, stdout, stderr = self.process.stdin, self.process.stdout, self.process.stderr
        rest = self._write(request)
        if rest:
            self._watcher.watch(stdin, writing=True)
        try:
            done = None
            while done is None:
                ready = yield wait
                if not ready:
                    self.lost = self.ended()
                    return None
                if rest and stdin in ready:
                    rest = self._write(rest)
                    if not rest:
                        self._watcher.unwatch(stdin)
                if stdout in ready:
                    data = self._read_output(output, self._pipe_size)
                    if live and data:
                        yield live(data)
                if stderr in ready:
                    done = self._read_status()
                if done is None and self.process.exited in ready:
                    self.lost = True
                    break
            data = self.drain(output)
            if live and data:
                yield live(data)
            return done
        finally:
            self.torn = bool(rest)
            if rest:
                self._watcher.unwatch(stdin)

    def ended(self) -> bool:
        """Whether bash has died."""
        return self.process.wait(0) is not None

    def stirred(self) -> bool:
        """Whether, since the last exchange, something was written or bash has died."""
        return bool(self._now.poll(0))

    def drain(self, output: Output) -> bytes:
        """Take what is there now, at most what the pipe holds: others may go on writing. Returns it, too."""
        taken, left = b"", self._pipe_size
        while left > 0 and (data := self._read_output(output, left)):
            taken += data
            if len(data) < left:  # that was all
                break
            left -= len(data)
        return taken

    def forget(self) -> None:
        """Let go of the process and its descriptors."""
        for descriptor in list(self._watched):
            self._unwatch(descriptor)
        self.process.close()

    def _write(self, data: bytes) -> bytes:
        """Write what the channel takes now; returns the rest."""
        try:
            return data[os.write(self.process.stdin, data) :]
        except BlockingIOError:
            return data
        except ConnectionError:
            return b""

    def _read_status(self) -> Done | None:
        done = None
        if self.marks is not None:
            self.marks.reads_status()
        data = _read(self.process.stderr, 1 << 16)
        if data == b"":  # bash is gone, or has become another program by `exec`
            self._unwatch(self.process.stderr)
        for event in self.protocol.feed(data or b""):
            if isinstance(event, Done):
                done = event
            elif isinstance(event, State):
                self.taken = event
            elif isinstance(event, Jobs):
                self.jobs = event
        return done

    def _read_output(self, output: Output, most: int) -> bytes:
        if self.process.stdout not in self._watched:
            return b""
        if self.marks is not None:
            self.marks.reads_output()
        data = _read(self.process.stdout, most)
        if data == b"":  # everything that could write has gone
            self._unwatch(self.process.stdout)
            self._now.unregister(self.process.stdout)
        elif data:
            output.add(data)
            if len(data) >= self._pipe_size < _LARGE_PIPE:
                self._pipe_size = _enlarged(self.process.stdout, self._pipe_size)
        return data or b""

    def _unwatch(self, descriptor: int) -> None:
        if descriptor in self._watched:
            self._watched.remove(descriptor)
            self._watcher.unwatch(descriptor)


class LiveText:
    """Makes chunks of the pieces of one command's output; a character split between two comes whole in the second."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __call__(self, data: bytes) -> Chunk:
        return Chunk(time.monotonic() - self._started, self._decoder.decode(data).replace("\0", ""))


def _enlarged(pipe: int, size: int) -> int:
    """Make a pipe large, where the kernel lets us; returns its size."""
    try:
        return fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _LARGE_PIPE)
    except OSError:  # this user has many large pipes already
        return size


def _read(descriptor: int, most: int) -> bytes | None:
    """What is there to read: ``b""`` at end of file, None where nothing is there yet."""
    try:
        return os.read(descriptor, most)
    except BlockingIOError:
        return None
    except ConnectionError:
        return b""
