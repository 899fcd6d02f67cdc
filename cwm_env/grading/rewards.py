"""From a verdict to a number: what an environment's ``reward`` may be."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from cwm_env.errors import InputError
from cwm_env.types import Grade

Reward = Callable[[Grade, str], float]
"""Takes the grade (never one with the outcome ``error``) and the gold patch, which is empty unless ``NEEDS_GOLD``."""

_LONGEST = 20_000


def pass_fail(grade: Grade, gold: str) -> float:
    """1 if resolved, else 0; what a Harbor script gave where it decides by itself."""
    return 1.0 if grade.outcome == "resolved" else 0.0


def signed(grade: Grade, gold: str) -> float:
    """1 if resolved, else -1, as CWM was trained."""
    return 1.0 if grade.outcome == "resolved" else -1.0


def share(grade: Grade, gold: str) -> float:
    """The share of the expected tests that passed, in 0 to 1; 0 if tampered."""
    if grade.outcome == "tampered" or not grade.tests:
        return 0.0 if grade.outcome != "resolved" else 1.0
    return sum(status == "PASSED" for status in grade.tests.values()) / len(grade.tests)


def similarity(grade: Grade, gold: str) -> float:
    """1 if resolved; else how alike the patch and the gold patch are, in -1 to 1; -1 without a patch or if tampered.

    Alike is twice the share of matching characters of their changed lines (``difflib.SequenceMatcher.ratio``), less 1.
    """
    if grade.outcome == "resolved":
        return 1.0
    ours, theirs = _changed(grade.patch), _changed(gold)
    if grade.outcome == "tampered" or not ours or not theirs:
        return -1.0
    return 2.0 * difflib.SequenceMatcher(None, ours, theirs, autojunk=False).ratio() - 1.0


REWARDS: dict[str, Reward] = {"pass-fail": pass_fail, "signed": signed, "share": share, "similarity": similarity}
"""By the name that environments, tasks and the command line use."""
NEEDS_GOLD = frozenset({similarity})
"""Those that compare with the gold patch."""


def named(reward: str | Reward) -> Reward:
    """The reward function of that name, or the function itself.

    Raises:
        InputError: there is none.
    """
    if callable(reward):
        return reward
    if reward not in REWARDS:
        raise InputError(f"there is no reward {reward!r}: choose {', '.join(REWARDS)}, or give a function")
    return REWARDS[reward]


def _changed(patch: str) -> str:
    """The added and removed lines of a patch with their files' names, as far as is affordable to compare."""
    lines = (line for line in patch.splitlines() if line[:1] in ("+", "-"))
    return "\n".join(lines)[:_LONGEST]
