"""What one process gives to another so that a sandbox outlives the first: facts, and descriptors beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from cwm_env.sandbox.base import Process, Sandbox
from cwm_env.types import Image, Limits


@dataclass(frozen=True, slots=True)
class Handover:
    """One thing that is handed over. Whoever makes it keeps its own descriptors; whoever is given it owns these."""

    about: Mapping[str, Any]
    """Values that JSON can carry."""
    descriptors: Sequence[int]


@runtime_checkable
class Portable(Protocol):
    """A backend whose sandboxes can go on under another process on the same machine.

    The other process must hold what was handed over before the first one dies, and lets it all end by closing it.
    """

    def makers(self) -> Mapping[str, Handover]:
        """By a name of their own, what the sandboxes that are alive depend on: handed over before any of them."""

    def hand_over(self, sandbox: Sandbox, process: Process) -> Handover:
        """A sandbox with one of its processes. ``about["maker"]`` names what it depends on.

        Raises:
            SandboxError: the sandbox is not this backend's.
        """

    def adopt_maker(self, maker: Handover) -> None:
        """Take over what sandboxes depend on.

        Raises:
            SandboxError: it is dead; its descriptors are closed.
        """

    def adopt(self, handover: Handover, image: Image, limits: Limits) -> tuple[Sandbox, Process]:
        """Take over a sandbox, and the process that was handed over with it.

        Raises:
            SandboxError: it is dead, does not answer, or was not made of ``image``; its descriptors are closed.
        """
