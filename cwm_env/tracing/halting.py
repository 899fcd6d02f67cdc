"""Does a program halt? Labels with evidence: *halts* (it ran to its end), *loops* (proved), *unknown* (budget spent).

A loop is proved when the whole state that a deterministic program can reach comes back at the same point: see
``subset.py`` for which programs that can be said of, and ``inside/loops.py`` for how it is seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cwm_env.tracing.stream import Place, record
from cwm_env.tracing.subset import NotProvable, instrument

Label = Literal["halts", "loops", "unknown"]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A program and whether it halts."""

    source: str
    label: Label
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Of *halts*: how it ``ended``, ``steps`` or ``exit_code``. Of *loops*: the loop's ``line``, the ``state`` that
    came back, after how many ``rounds`` of the loop, and at which steps. Of *unknown*: ``why``."""


def label(
    source: str,
    *,
    place: Place | None = None,
    in_process: bool = False,
    steps: int = 20_000,
    seconds: float = 5.0,
    stdin: bytes = b"",
) -> Labelled:
    """Say whether a program halts.

    Args:
        in_process: run it here: for a program that is trusted, within the provable subset.
        steps: rounds of loops and calls of functions that are watched.
        seconds: of each of the two runs: watched, and as it is.
        stdin: what it may read; a program that reads is never proved to loop.

    Raises:
        InfrastructureError: the sandbox failed.
    """
    try:
        watched: str | None = instrument(source)
        why = "its budget is spent"
    except NotProvable as error:
        watched, why = None, str(error)
    except (SyntaxError, ValueError, RecursionError) as error:
        return Labelled(source, "halts", {"ended": f"raised {type(error).__name__}"})
    if watched is not None:
        found = _watch(watched, place, in_process, steps, seconds)
        if found.get("label") in ("halts", "loops"):
            return Labelled(source, found["label"], found["evidence"])
        why = found.get("why", why)
    if in_process:
        return Labelled(source, "unknown", {"why": why})
    request = {"mode": "program", "source": source, "file": "program.py", "trace": False}
    _, ending = record(request, place or Place.default(), seconds, stdin)
    if ending.exit_code is None or ending.exit_code > 128:  # a signal is the machine's doing: memory, time
        return Labelled(source, "unknown", {"why": why})
    return Labelled(source, "halts", {"ended": "exited", "exit_code": ending.exit_code})


def _watch(source: str, place: Place | None, in_process: bool, steps: int, seconds: float) -> dict[str, Any]:
    if in_process:
        from cwm_env.tracing.inside.loops import run

        return run(source, steps, seconds)
    request = {"mode": "loops", "source": source, "steps": steps, "seconds": seconds}
    _, ending = record(request, place or Place.default(), seconds + 5.0)
    return ending.found
