"""One persistent bash per episode: driven by a thread that waits, by an event loop, or as a person's terminal."""

from cwm_env.session.aio import AsyncBashSession
from cwm_env.session.blocking import BashSession
from cwm_env.session.shell import Chunk

__all__ = ["AsyncBashSession", "BashSession", "Chunk"]
