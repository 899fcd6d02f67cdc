"""What tells cheaply whether a container changed, and how it reads now.

Compared is by identity, in C: the atoms of a container are kept, never the container nor anything else that could
change or that a weak reference could watch. Where one knows what was done to a container (``lines.py``), only that is
looked at.
"""

from itertools import chain, compress, repeat
from operator import is_, is_not
from typing import Any, Dict, List, Optional, Tuple

from cwm_env.tracing.inside.values import ATOMS, Renderer

_ROWS = frozenset([list, tuple])


def keep(value: Any, renderer: Renderer) -> Any:
    """What tells cheaply whether a container changed and how it reads now; None for what only its text can tell."""
    kind = type(value)
    if renderer.depth < 1:
        return None
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
        self.sort, self.brackets = ("l", "[]") if kind is list else ("t", "()")
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

    def edit(self, value: Any, name: str, arguments: Tuple[Any, ...]) -> bool:
        """Take over one edit of a container that was as kept before; False where it is not such an edit."""
        items, parts, grown = self.items, self.parts, len(value) - len(self.items)
        place = arguments[0] if arguments else -1
        if name != "append" and (type(place) is not int or not -len(items) <= place < len(items)):
            return False
        if name == "pop":
            if grown != -1:
                return False
            del items[place], parts[place]
            return True
        new = value[place]
        if grown != (name == "append") or type(new) not in ATOMS or len(value) > self.renderer.items:
            return False
        if grown:
            items.append(new)
            parts.append(self.renderer.atom(new))
        else:
            items[place], parts[place] = new, self.renderer.atom(new)
        return True

    def text(self) -> str:
        """The container as text."""
        return self.renderer.cut(self.renderer.enclosed(self.brackets, self.parts))


class Rows:
    """A list or tuple of lists or tuples of atoms, such as a matrix."""

    sort = "r"

    def __init__(self, kind: type, renderer: Renderer) -> None:
        self.kind, self.renderer = kind, renderer
        self.brackets = "[]" if kind is list else "()"

    def take(self, value: Any) -> bool:
        """Keep what is in the rows; False where they hold something else than atoms, or too many."""
        self.kinds: List[type] = list(map(type, value))
        if not _ROWS.issuperset(self.kinds):
            return False
        self.sizes = list(map(len, value))
        if sum(self.sizes) > 20 * self.renderer.items or max(self.sizes, default=0) > self.renderer.items:
            return False
        if not ATOMS.issuperset(map(type, chain.from_iterable(value))):
            return False
        self.rows = [Flat(kind, list(row), self.renderer) for kind, row in zip(self.kinds, value)]
        self.parts = list(map(self._part, self.rows))
        return True

    def _part(self, row: Flat) -> str:
        if self.renderer.depth < 2 and row.items:
            return "{}<+{} items>{}".format(row.brackets[0], len(row.items), row.brackets[1])
        return self.renderer.enclosed(row.brackets, row.parts)

    def same(self, value: Any) -> bool:
        """Whether every row is of the same kind and size, and holds the same atoms by identity."""
        if len(value) != len(self.sizes) or not all(map(is_, map(type, value), self.kinds)):
            return False
        if list(map(len, value)) != self.sizes:
            return False
        return all(map(is_, chain.from_iterable(value), chain.from_iterable([row.items for row in self.rows])))

    def update(self, value: Any) -> Optional[str]:
        """Take over what changed and return the text; None if it is no longer of this kind."""
        if len(value) > self.renderer.items:
            return None
        if list(map(type, value)) != self.kinds or list(map(len, value)) != self.sizes:
            return self.text() if self.take(value) else None
        for i, (row, new) in enumerate(zip(self.rows, value)):
            if not row.same(new):
                if row.update(new) is None:
                    return None
                self.parts[i] = self._part(row)
        return self.text()

    def edit(self, value: Any, name: str, arguments: Tuple[Any, ...]) -> bool:
        """Take over one edit of a row; False where it is not such an edit."""
        if not arguments or len(value) != len(self.rows):
            return False
        place = arguments[0]
        if type(place) is not int or not -len(value) <= place < len(value) or type(value[place]) is not list:
            return False
        row, changed = self.rows[place], value[place]
        if sum(map(is_, value, repeat(changed))) > 1:  # it is more than one row
            return False
        if row.kind is not list or not row.edit(changed, name, arguments[1:]):
            return False
        self.sizes[place] = len(row.items)
        self.parts[place] = self._part(row)
        return True

    def text(self) -> str:
        """The container as text."""
        return self.renderer.cut(self.renderer.enclosed(self.brackets, self.parts))


class Table:
    """A dict from atoms to atoms."""

    kind, sort = dict, "d"

    def __init__(self, names: List[Any], values: List[Any], renderer: Renderer) -> None:
        self.names, self.values, self.renderer = names, values, renderer
        self.parts = [self._part(name, value) for name, value in zip(names, values)]
        self.places: Dict[Any, int] = {}
        """Of the names, where they were asked for."""

    def _part(self, name: Any, value: Any) -> str:
        return "{}: {}".format(self.renderer.atom(name), self.renderer.atom(value))

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
        self.names, self.values, self.places = names, values, {}
        return self.text()

    def edit(self, value: Any, name: str, arguments: Tuple[Any, ...]) -> bool:
        """Take over one edit of a dict that was as kept before; False where it is not such an edit."""
        if name != "set" or len(value) != len(self.names):
            return False
        if not self.places:
            self.places = {key: i for i, key in enumerate(self.names)}
        place = self.places.get(arguments[0])
        if place is None or type(value[arguments[0]]) not in ATOMS:
            return False
        self.values[place] = held = value[arguments[0]]
        self.parts[place] = self._part(self.names[place], held)
        return True

    def text(self) -> str:
        """The dict as text."""
        return self.renderer.cut(self.renderer.enclosed("{}", self.parts))


KEEPERS = (Flat, Rows, Table)
