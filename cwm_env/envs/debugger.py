"""``DebuggerEnv``: actions are a debugger's steps, observations are frames of an execution."""

from __future__ import annotations

from typing import Any

import gymnasium

from cwm_env.envs.spaces import AnyText
from cwm_env.errors import InputError
from cwm_env.tracing import Trace
from cwm_env.tracing.format import Frame, write_frame
from cwm_env.tracing.stepping.debugger import ACTIONS, Debugger

STEPS = (*ACTIONS, "breakpoint")
"""Action number to its name. ``breakpoint`` sets or removes one at the current line."""


class DebuggerEnv(gymnasium.Env[str, Any]):
    """Walks over a recorded execution. The episode ends, with a reward of 1, at the last frame.

    An action is a number of ``STEPS``. An observation is a frame in the Code World Model's format with every variable
    in full. ``info`` holds ``position``, ``frames`` (how many there are), ``variables``, ``where`` (source lines of
    the open calls), ``breakpoints``, and ``context`` after ``reset``.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"]}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, trace: Trace, *, turns: int = 1000, render_mode: str | None = None) -> None:
        """Choose the execution.

        Args:
            turns: steps until the episode is truncated.

        Raises:
            InputError: the trace is empty, or another argument is wrong.
        """
        if render_mode not in (None, "ansi"):
            raise InputError(f"render_mode must be 'ansi', not {render_mode!r}")
        if turns <= 0:
            raise InputError(f"turns must be more than 0, not {turns}")
        self.action_space = gymnasium.spaces.Discrete(len(STEPS))
        self.observation_space = AnyText()
        self.render_mode = render_mode
        self._trace, self._turns = trace, turns
        self._debugger = Debugger(trace)
        self._left = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Stand at the first frame, without breakpoints. ``options`` has no meaning."""
        super().reset(seed=seed)
        self._debugger = Debugger(self._trace)
        self._left = self._turns
        return self._observation(), {**self._info(), "context": self._trace.context}

    def step(self, action: int) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Make one step of the debugger.

        Raises:
            InputError: the episode has ended, or the action is none.
        """
        if self._left <= 0:
            raise InputError("no episode is running: call reset() first")
        if not self.action_space.contains(action):
            raise InputError(f"an action is a number below {len(STEPS)}, not {action!r}")
        name = STEPS[int(action)]
        if name == "breakpoint":
            self._debugger.toggle(self._debugger.frame.source)
        else:
            self._debugger.do(name)
        self._left -= 1
        terminated = self._debugger.at_end
        truncated = not terminated and self._left <= 0
        if terminated:
            self._left = 0
        return self._observation(), float(terminated), terminated, truncated, self._info()

    def render(self) -> str | None:
        """The frame, in mode ``ansi``."""
        return self._observation() if self.render_mode == "ansi" else None

    def _observation(self) -> str:
        frame = self._debugger.frame
        if frame.locals is None:
            return write_frame(frame)
        return write_frame(Frame(frame.kind, frame.source, self._debugger.variables))

    def _info(self) -> dict[str, Any]:
        return {
            "position": self._debugger.position,
            "frames": len(self._trace.frames),
            "variables": dict(self._debugger.variables),
            "where": [frame.source.strip() for frame in self._debugger.where()],
            "breakpoints": sorted(self._debugger.breakpoints),
        }
