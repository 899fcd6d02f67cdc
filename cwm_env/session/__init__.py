"""One persistent bash per episode: driven by a thread that waits, by an event loop, or as a person's terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cwm_env.session.aio import AsyncBashSession
from cwm_env.session.blocking import BashSession
from cwm_env.session.resume import Left
from cwm_env.session.shell import Chunk

if TYPE_CHECKING:
    from cwm_env.session.terminal import TerminalSession

__all__ = ["AsyncBashSession", "BashSession", "Chunk", "Left", "TerminalSession"]


def __getattr__(name: str) -> Any:
    """Import pexpect and pyte only for those who open a terminal."""
    if name == "TerminalSession":
        from cwm_env.session.terminal import TerminalSession

        return TerminalSession
    raise AttributeError(name)
