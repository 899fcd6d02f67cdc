"""How far one live episode has got, noted where a server after this one finds it."""

from __future__ import annotations

from collections.abc import Callable

from cwm_env.sandbox.base import Process
from cwm_env.server.ledger import Place


class Trail:
    """The notes of one episode. It is its session's ``Marks``."""

    def __init__(self, noted: Place, started: Callable[[Process], None], end: Callable[[], None]) -> None:
        """
        Args:
            noted: where the notes are.
            started: as ``Marks.started``.
            end: called once, when the episode is over.
        """
        self.noted, self.started, self.end = noted, started, end
        self.gives, self.reads_status, self.reads_output = noted.gives, noted.reads_status, noted.reads_output
        self.renewed, self.step = noted.renewed, noted.step
