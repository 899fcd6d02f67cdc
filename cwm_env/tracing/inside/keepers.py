"""What tells cheaply whether a container changed, and how it reads now.

Compared is by identity, in C: the atoms of a container are kept, never the container nor anything else that could
change or that a weak reference could watch.
"""

from bisect import bisect_right
from itertools import accumulate, chain, compress
from operator import is_, is_not
from typing import Any, List, Optional

from cwm_env.tracing.inside.values import ATOMS, Renderer

_ROWS = frozenset([list, tuple])


def keep(value: Any, renderer: Renderer) -> Any:
    """What tells cheaply whether a container changed and how it reads now; None for what only its text can tell."""
    kind = type(value)
    if kind is list or kind is tuple:
        if len(value) <= renderer.items:
            if ATOMS.issuperset(map(type, value)):
                return Flat(kind, list(value), renderer)
            if _ROWS.issuperset(map(type, value)):
                rows = Rows(kind, renderer)
                return rows if rows.take(value) else None
    elif kind is dict and len(value) <= renderer.items and ATOMS.issuperset(map(type, value)):
        if ATOMS.issuperset(map(type, value.values())):
            return Table(list(value), list(value.values()), renderer)
    return None


class Flat:
    """A list or tuple of atoms: the atoms, and the text of each."""

    def __init__(self, kind: type, items: List[Any], renderer: Renderer) -> None:
        self.kind, self.items, self.renderer = kind, items, renderer
        self.parts = renderer.atoms(items)

    def same(self, value: Any) -> bool:
        """Whether the container holds the same atoms, by identity."""
        items = self.items
        return len(value) == len(items) and all(map(is_, value, items))

    def update(self, value: Any) -> Optional[str]:
        """Take over what changed and return the text; None if it is no longer of this kind."""
        items, parts = self.items, self.parts
        new = list(value)
        size, common = len(new), min(len(new), len(items))
        if size > self.renderer.items:
            return None
        places = list(compress(range(common), map(is_not, new, items)))
        others = [new[i] for i in places] + new[common:]
        if not ATOMS.issuperset(map(type, others)):
            return None
        texts = self.renderer.atoms(others)
        for i, text in zip(places, texts):
            parts[i] = text
        parts[common:] = texts[len(places) :]
        self.items = new
        return self.text()

    def text(self) -> str:
        """The container as text."""
        inner = ", ".join(self.parts)
        if self.kind is list:
            text = "[{}]".format(inner)
        else:
            text = "({},)".format(inner) if len(self.parts) == 1 else "({})".format(inner)
        return text if len(text) <= self.renderer.chars else self.renderer.text(self.kind(self.items))


class Rows:
    """A list or tuple of lists or tuples of atoms, such as a matrix."""

    def __init__(self, kind: type, renderer: Renderer) -> None:
        self.kind, self.renderer = kind, renderer

    def take(self, value: Any) -> bool:
        """Keep what is in the rows; False where they hold something else than atoms, or too many."""
        self.kinds: List[type] = list(map(type, value))
        if not _ROWS.issuperset(self.kinds):
            return False
        self.sizes = list(map(len, value))
        if sum(self.sizes) > 20 * self.renderer.items:
            return False
        self.flat = list(chain.from_iterable(value))
        if not ATOMS.issuperset(map(type, self.flat)):
            return False
        self.parts = list(map(self._part, value))
        self._join(value)
        return True

    def _part(self, row: Any) -> str:
        return self.renderer.render(row, self.renderer.depth - 1)

    def _join(self, value: Any) -> None:
        inner = ", ".join(self.parts)
        if type(value) is list:
            self.full = "[{}]".format(inner)
        else:
            self.full = "({},)".format(inner) if len(self.parts) == 1 else "({})".format(inner)
        if len(self.full) > self.renderer.chars or self.renderer.depth < 1:
            self.full = self.renderer.text(value)

    def same(self, value: Any) -> bool:
        """Whether every row is of the same kind and size, and holds the same atoms by identity."""
        if len(value) != len(self.sizes) or not all(map(is_, map(type, value), self.kinds)):
            return False
        return list(map(len, value)) == self.sizes and all(map(is_, chain.from_iterable(value), self.flat))

    def update(self, value: Any) -> Optional[str]:
        """Take over what changed and return the text; None if it is no longer of this kind."""
        if len(value) > self.renderer.items:
            return None
        kinds, sizes = list(map(type, value)), list(map(len, value)) if _ROWS.issuperset(map(type, value)) else []
        if kinds != self.kinds or sizes != self.sizes:
            return self.full if self.take(value) else None
        flat = list(chain.from_iterable(value))
        places = list(compress(range(len(flat)), map(is_not, flat, self.flat)))
        if not ATOMS.issuperset([type(flat[i]) for i in places]):
            return None
        self.flat = flat
        ends = list(accumulate(sizes))
        for i in {bisect_right(ends, place) for place in places}:
            self.parts[i] = self._part(value[i])
        self._join(value)
        return self.full

    def text(self) -> str:
        """The container as text."""
        return self.full


class Table:
    """A dict from atoms to atoms."""

    kind = dict

    def __init__(self, names: List[Any], values: List[Any], renderer: Renderer) -> None:
        self.names, self.values, self.renderer = names, values, renderer
        self.parts = [self._part(name, value) for name, value in zip(names, values)]

    def _part(self, name: Any, value: Any) -> str:
        return "{}: {}".format(self.renderer.render(name, 1), self.renderer.render(value, 1))

    def same(self, value: Any) -> bool:
        """Whether it holds the same keys and values, by identity, in the same order."""
        names = self.names
        if len(value) != len(names):
            return False
        return all(map(is_, value, names)) and all(map(is_, value.values(), self.values))

    def update(self, value: Any) -> Optional[str]:
        """Take over what changed and return the text; None if it is no longer of this kind."""
        names, values, parts = list(value), list(value.values()), self.parts
        size, common = len(names), min(len(names), len(self.names))
        if size > self.renderer.items or not all(map(is_, names[:common], self.names)):
            return None  # keys went away: rare enough to start over
        for i in compress(range(common), map(is_not, values, self.values)):
            if type(values[i]) not in ATOMS:
                return None
            parts[i] = self._part(names[i], values[i])
        for name, held in zip(names[common:], values[common:]):
            if type(name) not in ATOMS or type(held) not in ATOMS:
                return None
            parts.append(self._part(name, held))
        del parts[size:]
        self.names, self.values = names, values
        return self.text()

    def text(self) -> str:
        """The dict as text."""
        text = "{{{}}}".format(", ".join(self.parts))
        return text if len(text) <= self.renderer.chars else self.renderer.text(dict(zip(self.names, self.values)))


KEEPERS = (Flat, Rows, Table)
