"""What an episode did, on the disk before anybody is told: so that no acknowledged step is ever lost.

One file an episode, one line of JSON a record: how it began, each step with its answer, how it ended, and that its
trajectory was stored. A record is handed to the kernel before the answer is sent: that survives the death of this
process by any signal (not the machine's loss of power; trajectories do). Answers are read back from here when they
are asked for again, so they cost no memory.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from cwm_env import wire
from cwm_env.errors import DiskFull, InfrastructureError, SandboxError
from cwm_env.trajectories.record import made
from cwm_env.types import Step, Trajectory
from cwm_env.wire import quoted


class Answer(NamedTuple):
    """Where the answer to a step lies in the journal."""

    action: int
    """The action's ``hash``, whose key every process draws anew."""
    offset: int
    length: int
    """Bytes."""


@dataclass(slots=True)
class Past:
    """What a journal holds."""

    begun: Mapping[str, Any]
    """Of the keys ``episode owner request_id task image instruction observation info seed policy started``."""
    answers: dict[str, Answer] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    begins: tuple[str, str] | None = None
    """Id and action of the last step that was noted before it ran: one whose action is long."""
    end: Mapping[str, Any] | None = None
    """Of the keys ``grade failure error duration``."""
    stored: bool = False

    @property
    def id(self) -> str:
        """The episode's."""
        found: str = self.begun["episode"]
        return found

    def trajectory(self) -> Trajectory:
        """The episode's trajectory; it must have an end."""
        assert self.end is not None
        grade = self.end["grade"]
        return made(
            {name: self.begun[name] for name in ("task", "image", "instruction")},
            tuple(self.steps),
            (wire.decode_grade(grade) if grade else None, self.end["failure"], self.end["error"]),
            policy=self.begun["policy"],
            seed=self.begun["seed"],
            started=datetime.fromisoformat(self.begun["started"]),
            duration=self.end["duration"],
            episode=self.begun["episode"],
        )


class Journal:
    """The journal of one episode, open for writing."""

    def __init__(self, path: Path, begun: Mapping[str, Any] | None) -> None:
        """Begin it, or, without ``begun``, go on with what ``read`` has read.

        Raises:
            DiskFull: no space is left.
            SandboxError: it cannot be written.
        """
        self.path = path
        try:
            new = os.O_CREAT | os.O_EXCL if begun is not None else 0
            self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | new, 0o600)
            self._end = os.fstat(self._descriptor).st_size
        except OSError as error:
            raise _translated(path, error) from None
        if begun is not None:
            self._append(wire.dumps({"begun": begun}) + b"\n")

    @property
    def open(self) -> bool:
        """Whether it can be written to."""
        return self._descriptor >= 0

    def step(self, step_id: str, action: str, time: float, answer: bytes) -> Answer:
        """Keep a step.

        Raises:
            DiskFull: no space is left; the journal is as it was.
            SandboxError: it cannot be written.
        """
        head = f'{{"step":{quoted(step_id)},"action":{quoted(action)},"time":{time:.6f},"answer":'.encode("ascii")
        offset = self._end + len(head)
        self._append(head + answer + b"}\n")
        return Answer(hash(action), offset, len(answer))

    def begin(self, step_id: str, action: str) -> None:
        """Note that a step is about to run.

        Raises:
            DiskFull: no space is left.
            SandboxError: it cannot be written.
        """
        self._append(wire.dumps({"begin": step_id, "action": action}) + b"\n")

    def end(self, **how: Any) -> None:
        """Keep how the episode ended, see ``Past.end``.

        Raises:
            DiskFull: no space is left.
            SandboxError: it cannot be written.
        """
        self._append(wire.dumps({"end": how}) + b"\n")

    def close(self) -> None:
        """No more is written. Idempotent."""
        if self.open:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, record: bytes) -> None:
        left = record
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            raise _translated(self.path, error) from None
        self._end += len(record)


def mark_stored(path: Path) -> None:
    """Note that the trajectory is in the store."""
    with path.open("ab") as file:
        file.write(b'{"stored":true}\n')


def note_end(path: Path, how: Mapping[str, Any]) -> None:
    """Note how an episode ended whose journal is no longer open."""
    with path.open("ab") as file:
        file.write(wire.dumps({"end": how}) + b"\n")


def read_answer(path: Path, answer: Answer) -> bytes:
    """The body that answered a step.

    Raises:
        SandboxError: the journal cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(answer.offset)
            return file.read(answer.length)
    except OSError as error:
        raise _translated(path, error) from None


def read(path: Path) -> Past | None:
    """What a journal holds; None where not even its beginning was written.

    A last line that a killed server left unfinished is cut off: its step was never acknowledged.
    """
    past: Past | None = None
    whole = 0
    with path.open("rb") as file:
        for line in file:
            record = _record(line)
            if record is None:
                break
            if past is None:
                past = Past(record["begun"])
            else:
                _take(past, record, whole, line)
            whole += len(line)
    os.truncate(path, whole)
    return past


def _record(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return record


def _take(past: Past, record: Mapping[str, Any], offset: int, line: bytes) -> None:
    if "step" in record:
        action, answer = record["action"], record["answer"]
        length = len(wire.dumps(answer))  # as it was written: the encoding is one to one
        start = offset + len(line) - 2 - length
        past.answers[record["step"]] = Answer(hash(action), start, length)
        observation, reward, _, _, info = wire.decode_stepped(answer)
        past.steps.append(Step(action, observation, info["result"], reward, record["time"]))
    elif "begin" in record:
        past.begins = record["begin"], record["action"]
    elif "end" in record:
        past.end = record["end"]
    elif "stored" in record:
        past.stored = True


def _translated(path: Path, error: OSError) -> InfrastructureError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull("no space is left where the server keeps its journals: free some and try again")
    return SandboxError(f"the journal {path.name} cannot be used: {error.strerror}")
