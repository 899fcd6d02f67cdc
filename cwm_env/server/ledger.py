"""What each live episode is doing, in memory that outlives this process: for the server after it, if it is killed.

A place of one page for each episode. A note costs a copy and no system call, so every step can afford some. The
memory belongs to no file: the keeper holds its descriptor, and it is gone with the last who does.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from dataclasses import dataclass

from cwm_env.session.resume import Given

_PLACE = 4096  # bytes; a whole page, so that an episode that does not live costs none
_NOTHING, _STEP, _GIVEN = range(3)
_STATE, _STATUS_READ, _OUTPUT_READ = 0, 1, 2  # one byte each; the rest is valid as the state says
_RENEWED = struct.Struct("=d")
_GIVES = struct.Struct("=9sQId")
_LENGTHS = struct.Struct("=II")
_RENEWED_AT, _GIVES_AT, _LENGTHS_AT, _TEXT = 8, 16, 48, 64
_ELSEWHERE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Note:
    """What a place says."""

    renewed: float
    """When the lease was renewed, of the monotonic clock; 0 if never."""
    step_id: str | None
    """Of the last step that began; None where none did."""
    action: str | None
    """None where it was too long for the place."""
    given: Given | None
    """How far the step's command got; None where bash was given nothing of it."""


class Ledger:
    """The places of one server's episodes."""

    def __init__(self, places: int, descriptor: int = -1) -> None:
        """
        Args:
            places: how many there are at least.
            descriptor: of the ledger of the server before, taken over.

        Raises:
            OSError: there is no memory for it.
        """
        self.descriptor = os.memfd_create("cwm-env ledger") if descriptor < 0 else descriptor
        size = max(places * _PLACE, os.fstat(self.descriptor).st_size)
        os.ftruncate(self.descriptor, size)
        self._memory = mmap.mmap(self.descriptor, size)
        self._free = list(range(size // _PLACE - 1, -1, -1))

    def place(self, number: int | None = None) -> Place | None:
        """A place that nobody has, or that of this number as it was left; None where all are taken."""
        if number is None:
            if not self._free:
                return None
            made = Place(self._memory, self._free.pop())
            made.clear()
            return made
        self._free.remove(number)
        return Place(self._memory, number)

    def give_back(self, place: Place) -> None:
        """Its episode is over."""
        self._free.append(place.number)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)


class Place:
    """What one episode does. Its notes are ``session.shell.Marks``, but for ``started``."""

    def __init__(self, memory: mmap.mmap, number: int) -> None:
        self._memory, self.number, self._start = memory, number, number * _PLACE

    def clear(self) -> None:
        """Nothing is noted."""
        self._memory[self._start] = _NOTHING
        self.renewed(0.0)

    def renewed(self, when: float) -> None:
        """The lease was renewed."""
        _RENEWED.pack_into(self._memory, self._start + _RENEWED_AT, when)

    def step(self, step_id: str, action: str) -> bool:
        """A step begins; False where its action has to be kept elsewhere."""
        memory, start = self._memory, self._start
        name, text = step_id.encode("utf-8", "surrogatepass"), action.encode("utf-8", "surrogatepass")
        fits = len(name) + len(text) <= _PLACE - _TEXT
        whole = name + text if fits else name
        # Whoever reads it must never see a part of this step beside a part of the last.
        memory[start] = _NOTHING
        _LENGTHS.pack_into(memory, start + _LENGTHS_AT, len(name), len(text) if fits else _ELSEWHERE)
        memory[start + _TEXT : start + _TEXT + len(whole)] = whole
        memory[start] = _STEP
        return fits

    def gives(self, nonce: bytes, size: int, shell: int) -> None:
        """As ``Marks.gives``."""
        memory, start = self._memory, self._start
        if memory[start] == _NOTHING:
            return  # a command of the server's own
        memory[start + _STATUS_READ] = memory[start + _OUTPUT_READ] = 0
        _GIVES.pack_into(memory, start + _GIVES_AT, nonce, size, shell, time.monotonic())
        memory[start] = _GIVEN

    def reads_status(self) -> None:
        """As ``Marks.reads_status``."""
        self._memory[self._start + _STATUS_READ] = 1

    def reads_output(self) -> None:
        """As ``Marks.reads_output``."""
        self._memory[self._start + _OUTPUT_READ] = 1

    def read(self) -> Note:
        """All of it."""
        memory, start = self._memory, self._start
        (renewed,) = _RENEWED.unpack_from(memory, start + _RENEWED_AT)
        if memory[start] == _NOTHING:
            return Note(renewed, None, None, None)
        name, text = _LENGTHS.unpack_from(memory, start + _LENGTHS_AT)
        at = start + _TEXT
        step_id = memory[at : at + name].decode("utf-8", "surrogatepass")
        action = None
        if text != _ELSEWHERE:
            action = memory[at + name : at + name + text].decode("utf-8", "surrogatepass")
        given = None
        if memory[start] == _GIVEN:
            nonce, size, shell, begun = _GIVES.unpack_from(memory, start + _GIVES_AT)
            read = [bool(memory[start + which]) for which in (_STATUS_READ, _OUTPUT_READ)]
            given = Given(nonce, size, shell, begun, *read)
        return Note(renewed, step_id, action, given)
