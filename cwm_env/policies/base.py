"""The ``Policy`` protocol."""

from __future__ import annotations

from typing import Protocol

from cwm_env.types import Task


class Policy(Protocol):
    """Acts in one episode at a time; each parallel episode has one of its own."""

    name: str
    """How trajectories call it."""

    def begin(self, task: Task) -> None:
        """A new episode of ``task`` starts.

        Raises:
            InputError: this policy cannot act in that task.
        """

    def act(self, observation: str) -> str:
        """The next action, given the last observation.

        Raises:
            PolicyError: the policy failed, through no doing of the environment.
        """
