"""Carries what a session decides on an event loop: callbacks alone, without a task, a thread or a timer for each."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from cwm_env.session.shell import Call, Chunk, Steps, Wait

_LATE = 0.02  # seconds; after one or two such times output is read before its end: a pipe holds what most print

Ended = Callable[[Any, BaseException | None], None]
"""Called at the end, with what came of it: a result, or an exception."""


class Driver(ABC):
    """Runs generators of ``shell``, one after the other, on the loop on which it is made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lookout = _lookout(self._loop)
        self._queue: deque[tuple[Steps[Any], Ended]] = deque()
        self._steps: Steps[Any] | None = None
        self._ended: Ended | None = None
        self._waiting: Wait | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused: set[tuple[int, bool]] = set()
        self._output: int | None = None
        self._looks = False  # whether the output is watched by now

    def watch(self, descriptor: int, *, writing: bool = False, late: bool = False) -> None:
        """For the core: as ``Watcher``."""
        if late:
            self._output = descriptor
            if not self._looks:
                return
        add = self._loop.add_writer if writing else self._loop.add_reader
        add(descriptor, self._ready, descriptor, writing)

    def unwatch(self, descriptor: int) -> None:
        """For the core: as ``Watcher``."""
        self._paused -= {(descriptor, False), (descriptor, True)}
        if descriptor == self._output:
            self._output = None
        self._loop.remove_reader(descriptor)
        self._loop.remove_writer(descriptor)

    def look(self) -> None:
        """Read from now on what the running command prints."""
        if self._steps is None or self._looks:
            return
        self._looks = True
        if self._output is not None:
            self.watch(self._output)

    async def _drive(self, steps: Steps[Any]) -> Any:
        """Carry ``steps`` through to their end, even where nobody waits for it any more."""
        came = self._loop.create_future()

        def ended(result: Any, error: BaseException | None) -> None:
            if came.done():  # cancelled: nobody wants to know
                return
            if error is None:
                came.set_result(result)
            else:
                came.set_exception(error)

        self._begin(steps, ended)
        try:
            return await came
        except asyncio.CancelledError:
            if (steps, ended) in self._queue:
                self._queue.remove((steps, ended))
            elif self._steps is steps:
                self._stop()
            raise

    def _begin(self, steps: Steps[Any], ended: Ended) -> None:
        """Begin with ``steps``, once those before have ended."""
        if self._steps is not None:
            self._queue.append((steps, ended))
            return
        self._steps, self._ended = steps, ended
        self._lookout.new.add(self)
        if not self._lookout.waits:
            self._lookout.wait()
        self._advance(None)

    def _advance(self, answer: Any, error: BaseException | None = None) -> None:
        """Go on until the next wait."""
        steps = self._steps
        assert steps is not None
        try:
            step = steps.send(answer) if error is None else steps.throw(error)
            while isinstance(step, Chunk):
                if not self._hand_out(step):
                    return
                step = steps.send(None)
        except StopIteration as end:
            self._finish(end.value, None)
        except BaseException as raised:
            self._finish(None, raised)
        else:
            if isinstance(step, Wait):
                self._wait(step)
            else:
                self._call(step)

    def _finish(self, result: Any, error: BaseException | None) -> None:
        ended = self._ended
        self._steps = self._ended = None
        if self._looks:
            self._looks = False
            if self._output is not None:
                self._loop.remove_reader(self._output)
                self._paused.discard((self._output, False))
        if self._queue:
            self._loop.call_soon(self._next)
        assert ended is not None
        ended(result, error)

    def _next(self) -> None:
        if self._queue and self._steps is None:
            self._begin(*self._queue.popleft())

    def _wait(self, wait: Wait) -> None:
        self._waiting = wait
        for descriptor, writing in self._paused:
            self.watch(descriptor, writing=writing)
        self._paused.clear()
        # One timer serves many waits: it is moved when it comes up too early, and set anew only when it is too late.
        if self._timer is None or self._timer.when() > wait.deadline:
            self._set_timer(wait.deadline)

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._time_up)

    def _time_up(self) -> None:
        self._timer = None
        wait = self._waiting
        if wait is None:
            return
        if wait.deadline > time.monotonic():
            self._set_timer(wait.deadline)
        else:
            self._waiting = None
            self._advance(())

    def _ready(self, descriptor: int, writing: bool) -> None:
        if self._waiting is None:  # between commands, or while the core is busy: what comes waits
            (self._loop.remove_writer if writing else self._loop.remove_reader)(descriptor)
            self._paused.add((descriptor, writing))
        else:
            self._waiting = None
            self._advance((descriptor,))

    def _call(self, call: Call) -> None:
        future = self._loop.run_in_executor(None, call.work)
        future.add_done_callback(self._called)

    def _called(self, future: asyncio.Future[Any]) -> None:
        if future.cancelled():  # the loop is being closed
            return
        error = future.exception()
        self._advance(None if error else future.result(), error)

    @abstractmethod
    def _hand_out(self, chunk: Chunk) -> bool:
        """Take a piece of output; False where the generator shall wait until ``_advance`` is called."""

    @abstractmethod
    def _stop(self) -> None:
        """Bring what runs to its time limit."""


class _Lookout:
    """Looks, late, at the outputs of the commands that run, so that a short one wakes its loop once: at its end."""

    def __init__(self) -> None:
        self.new: set[Driver] = set()
        """Those that have begun with something since the last look."""
        self.waits = False
        """Whether there will be a look."""
        self._old: set[Driver] = set()

    def wait(self) -> None:
        """Look a moment from now."""
        self.waits = True
        asyncio.get_running_loop().call_later(_LATE, self._look)

    def _look(self) -> None:
        for session in self._old:
            session.look()
        self._old, self.new = self.new, set()
        self.waits = False
        if self._old:
            self.wait()


_lookouts: WeakKeyDictionary[asyncio.AbstractEventLoop, _Lookout] = WeakKeyDictionary()


def _lookout(loop: asyncio.AbstractEventLoop) -> _Lookout:
    found = _lookouts.get(loop)
    if found is None:
        found = _lookouts[loop] = _Lookout()
    return found
