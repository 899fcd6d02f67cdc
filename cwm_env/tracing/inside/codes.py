"""Code objects that are recorded, and what their activations share."""

from opcode import opmap
from typing import Any, Dict

from cwm_env.tracing.inside.calm import Calm
from cwm_env.tracing.inside.lines import READABLE

_RENAMING = frozenset(["exec", "eval", "locals", "vars"])
_DELETING = frozenset(number for name, number in opmap.items() if name.startswith("DELETE_") or "AND_CLEAR" in name)


class Code:
    """A code object that is recorded."""

    __slots__ = (
        "begun", "calm", "code", "exposed", "loses_names", "name", "number", "plain", "readable", "shapes", "spent",
    )  # fmt: skip

    def __init__(self, number: int, code: Any, calm: Calm) -> None:
        self.number, self.code, self.calm, self.begun = number, code, calm, 0
        self.spent = False
        """Whether no further trace begins with it."""
        self.name = code.co_name
        self.shapes: Dict[Any, Any] = {}
        """What the activations of this code share: the texts around values, by the names of the variables."""
        self.plain = not code.co_flags & 2  # a module or a class body: its names are not fast locals
        self.loses_names = (
            self.plain or not _RENAMING.isdisjoint(code.co_names) or not _DELETING.isdisjoint(code.co_code[::2])
        )
        """Whether as many variables as before may be other ones."""
        self.readable = READABLE and bool(code.co_flags & 1) and not self.plain
        """Whether its lines can tell what they change."""
        self.exposed = bool(code.co_cellvars or code.co_freevars)
