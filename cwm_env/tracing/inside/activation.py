"""One activation of a function: which of its variables changed since its last frame, as the text of its next.

Nothing but immutable atoms is kept from one frame to the next: holding anything else would keep objects of the
program alive, and a weak reference or a finalizer would tell.
"""

from itertools import chain, compress
from json.encoder import encode_basestring_ascii
from operator import add, is_, is_not
from typing import Any, Dict, List, Optional, Tuple

from cwm_env.tracing.inside.values import ATOMS, Renderer

_ROWS = frozenset([list, tuple])
_NOTHING = object()  # is never a value, so that a variable that is looked up by identity always has "changed"
_SMALL = 1 << 60
_UNCHANGED = '".."'


def quote(text: str) -> str:
    """A JSON string, in ASCII, that holds no text of a special token."""
    quoted = encode_basestring_ascii(text)
    return quoted.replace("<|", "\\u003c|") if "<|" in quoted else quoted


class Activation:
    """What the frames of one activation have shown so far."""

    __slots__ = (
        "around", "code", "dots", "frame", "heads", "indices", "kept", "keys", "last", "loses_names", "renderer", "texts", "unchanged"
    )  # fmt: skip

    def __init__(self, code: Any, renderer: Renderer, frame: Any = None) -> None:
        """Begin an activation of a registered code object; ``frame`` is only for the recorder to compare with."""
        self.code, self.renderer, self.frame = code, renderer, frame
        self.loses_names = code.loses_names
        self.keys: List[str] = []
        self.around: Dict[int, Tuple[str, str]] = {}
        self.unchanged = "{}"
        self.last: List[Any] = []
        self.texts: List[str] = []
        self.kept: List[Any] = []

    def call(self, variables: Dict[str, Any]) -> str:
        """The variables in full, as a JSON object."""
        self._name(list(variables))
        size = len(self.keys)
        self.last, self.texts, self.kept = [_NOTHING] * size, [""] * size, [None] * size
        for i, value in enumerate(variables.values()):
            self._changed(i, value)
        return "{%s}" % ", ".join(map(add, self.heads, self.texts))

    def line(self, variables: Dict[str, Any]) -> str:
        """The variables as a JSON object, what did not change as ``".."``."""
        last = self.last
        if len(variables) != len(last) or (self.loses_names and list(variables) != self.keys):
            return self._renamed(variables)
        first = -1
        shown: Optional[List[str]] = None
        values = list(variables.values())
        for i in compress(self.indices, map(is_not, values, last)):
            value = values[i]
            kind, kept = type(value), self.kept[i]
            if kept is not None:
                # The type alone, where that is all there is to see; or what knows the container's content.
                if kept is kind or (kept.kind is kind and self._same(kept, value)):
                    continue
            if kind is int and -_SMALL < value < _SMALL:  # what changes most often, without a call
                last[i] = value
                self.kept[i] = None
                text = f'"{value}"'
                if text == self.texts[i]:
                    continue
                self.texts[i] = text
            elif not self._changed(i, value):
                continue
            if first < 0:
                first = i
                continue
            if shown is None:
                shown = self.dots[:]
                shown[first] = self.heads[first] + self.texts[first]
            shown[i] = self.heads[i] + self.texts[i]
        if first < 0:
            return self.unchanged
        if shown is not None:
            return "{%s}" % ", ".join(shown)
        around: Tuple[str, str] = self.around.get(first) or self._around(first)
        return around[0] + self.texts[first] + around[1]

    @staticmethod
    def _same(kept: Any, value: Any) -> bool:
        try:
            return bool(kept.same(value))
        except Exception:  # another thread changed it under us
            return False

    def _around(self, i: int) -> Tuple[str, str]:
        """What stands before and after the value of variable ``i`` where it alone has changed."""
        before, after = self.dots[:i] + [self.heads[i]], [""] + self.dots[i + 1 :]
        found = self.around[i] = ("{" + ", ".join(before), ", ".join(after) + "}")
        return found

    def _changed(self, i: int, value: Any) -> bool:
        """Whether the text of variable ``i`` is another now; it is kept."""
        kind = type(value)
        if kind in ATOMS:
            self.last[i], self.kept[i] = value, None
            text = self.renderer.text(value)
        else:
            self.last[i] = _NOTHING
            try:
                text = self._text_of(i, kind, value)
            except Exception:  # another thread changed it under us
                self.kept[i], text = None, self.renderer.text(value)
        text = quote(text)
        if text == self.texts[i]:
            return False
        self.texts[i] = text
        return True

    def _text_of(self, i: int, kind: type, value: Any) -> str:
        kept = self.kept[i]
        if type(kept) in _KEEPERS and kept.kind is kind:
            text = kept.update(value)
            if text is not None:
                return str(text)
        constant = self.renderer.constant.get(kind)
        if constant is not None:
            self.kept[i] = kind
            return str(constant)
        self.kept[i] = kept = keep(value, self.renderer)
        return self.renderer.text(value) if kept is None else str(kept.text())

    def _name(self, keys: List[str]) -> None:
        """Take these as the names of the variables from now on."""
        self.keys = keys
        shapes = self.code.shapes
        shape = shapes.get(tuple(keys))
        if shape is None:
            heads = [quote(key) + ": " for key in keys]
            dots = [head + _UNCHANGED for head in heads]
            shape = heads, dots, "{%s}" % ", ".join(dots), range(len(keys)), {}
            if len(shapes) < 100:
                shapes[tuple(keys)] = shape
        self.heads, self.dots, self.unchanged, self.indices, self.around = shape

    def _renamed(self, variables: Dict[str, Any]) -> str:
        """A frame where a variable came or went."""
        before = {key: (self.last[i], self.texts[i], self.kept[i]) for i, key in enumerate(self.keys)}
        self._name(list(variables))
        known = [before.get(key, (_NOTHING, "", None)) for key in self.keys]
        self.last, self.texts, self.kept = ([row[column] for row in known] for column in range(3))
        shown = self.dots[:]
        for i, value in enumerate(variables.values()):
            if value is not self.last[i] and self._changed(i, value):
                shown[i] = self.heads[i] + self.texts[i]
        return "{%s}" % ", ".join(shown)


def keep(value: Any, renderer: Renderer) -> Any:
    """What tells cheaply whether a container changed and how it reads now; None for what only its text can tell."""
    kind = type(value)
    if kind is list or kind is tuple:
        if len(value) <= renderer.items:
            if ATOMS.issuperset(map(type, value)):
                return _Flat(kind, list(value), renderer)
            if _ROWS.issuperset(map(type, value)):
                rows = _Rows(kind, renderer)
                return rows if rows.take(value) else None
    elif kind is dict and len(value) <= renderer.items and ATOMS.issuperset(map(type, value)):
        if ATOMS.issuperset(map(type, value.values())):
            return _Table(list(value), list(value.values()), renderer)
    return None


class _Flat:
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


class _Rows:
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
        self.full = self.renderer.text(value)
        return ATOMS.issuperset(map(type, self.flat))

    def same(self, value: Any) -> bool:
        """Whether every row is of the same kind and size, and holds the same atoms by identity."""
        if len(value) != len(self.sizes) or not all(map(is_, map(type, value), self.kinds)):
            return False
        return list(map(len, value)) == self.sizes and all(map(is_, chain.from_iterable(value), self.flat))

    def update(self, value: Any) -> Optional[str]:
        """Take over what changed and return the text; None if it is no longer of this kind."""
        return self.full if len(value) <= self.renderer.items and self.take(value) else None

    def text(self) -> str:
        """The container as text."""
        return self.full


class _Table:
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


_KEEPERS = (_Flat, _Rows, _Table)
