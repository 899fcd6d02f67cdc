"""Policies by what a user says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cwm_env.errors import InputError
from cwm_env.policies import cheat, scripted
from cwm_env.policies.base import Policy


def make_policy(spec: str, *, base_url: str | None = None) -> Callable[[], Policy]:
    """A maker of policies, one for each parallel episode.

    Args:
        spec: ``gold``, ``noop``, ``cheat``, ``openai:MODEL``, or the path of a bash script.
        base_url: of an OpenAI-compatible endpoint; None takes OpenAI's, or ``$OPENAI_BASE_URL``.

    Raises:
        InputError: there is no such policy, or what it needs is not there.
    """
    if base_url is not None and not spec.startswith("openai:"):
        raise InputError(f"a base URL goes with the policy openai:MODEL, not with {spec!r}")
    if spec == "gold":
        return scripted.GoldPolicy
    if spec == "noop":
        return scripted.noop
    if spec == cheat.NAME:
        return cheat.cheats()
    if spec.startswith("openai:"):
        from cwm_env.policies.chat import chat_policies

        return chat_policies(spec.removeprefix("openai:"), base_url)
    if not Path(spec).is_file():
        raise InputError(
            f"there is no policy {spec!r}: choose gold, noop, cheat, openai:MODEL, or the path of a bash script"
        )
    script = Path(spec)
    scripted.from_file(script)  # so that a file that cannot be read is said before anything starts
    return lambda: scripted.from_file(script)
