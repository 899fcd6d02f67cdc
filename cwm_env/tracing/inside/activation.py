"""One activation of a function: which of its variables changed since its last frame, as the text of its next.

Nothing but immutable atoms is kept from one frame to the next: holding anything else would keep objects of the
program alive, and a weak reference or a finalizer would tell.
"""

from json.encoder import encode_basestring_ascii
from operator import add
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from cwm_env.tracing.inside.keepers import KEEPERS, keep
from cwm_env.tracing.inside.values import ATOMS, Renderer

_NOTHING = object()  # is never a value, so that a variable that is looked up by identity always has "changed"
_SMALL = 1 << 60
_PLAIN = frozenset([bool, float, type(None)])
"""Types whose every value is short, and a JSON string between two quotes."""
_UNCHANGED = '".."'


def quote(text: str) -> str:
    """A JSON string, in ASCII, that holds no text of a special token."""
    quoted = encode_basestring_ascii(text)
    return quoted.replace("<|", "\\u003c|") if "<|" in quoted else quoted


class Activation:
    """What the frames of one activation have shown so far."""

    __slots__ = (
        "around", "code", "dots", "frame", "heads", "kept", "keys", "last", "loses_names", "moved", "renderer", "short",
        "texts", "unchanged",
    )  # fmt: skip

    def __init__(self, code: Any, renderer: Renderer, frame: Any = None) -> None:
        """Begin an activation of a registered code object; ``frame`` is only for the recorder to compare with."""
        self.code, self.renderer, self.frame = code, renderer, frame
        self.loses_names = code.loses_names
        self.short = renderer.chars // 10  # characters of a string whose repr, all escapes, is never cut
        self.keys: List[str] = []
        self.around: List[Optional[Tuple[str, str]]] = []
        self.unchanged = "{}"
        self.moved: Callable[[Any, List[Any]], Iterable[Tuple[int, Any]]] = moved(0)
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
        texts = self.texts
        for i, value in self.moved(variables.values(), last):
            kind, kept = type(value), self.kept[i]
            if kept is not None:
                # The type alone, where that is all there is to see; or what knows the container's content.
                if kept is kind or (kept.kind is kind and self._same(kept, value)):
                    continue
                if kind in ATOMS:
                    self.kept[i] = None
            # What changes most often, without a call.
            if (kind is int and -_SMALL < value < _SMALL) or kind in _PLAIN:
                text = f'"{value!r}"'
            elif kind is str and len(value) <= self.short:
                text = encode_basestring_ascii(repr(value))
                if "<|" in text:
                    text = quote(repr(value))
            elif self._changed(i, value):
                text = ""
            else:
                continue
            if text:
                last[i] = value
                if text == texts[i]:
                    continue
                texts[i] = text
            if first < 0:
                first = i
                continue
            if shown is None:
                shown = self.dots[:]
                shown[first] = self.heads[first] + texts[first]
            shown[i] = self.heads[i] + texts[i]
        if first < 0:
            return self.unchanged
        if shown is not None:
            return "{%s}" % ", ".join(shown)
        around = self.around[first] or self._around(first)
        return f"{around[0]}{texts[first]}{around[1]}"

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
        if type(kept) in KEEPERS and kept.kind is kind:
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
            shape = heads, dots, "{%s}" % ", ".join(dots), moved(len(keys)), [None] * len(keys)
            if len(shapes) < 100:
                shapes[tuple(keys)] = shape
        self.heads, self.dots, self.unchanged, self.moved, self.around = shape

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


_comparers: Dict[int, Any] = {}
_MOST_COMPARED = 40


def moved(size: int) -> Any:
    """A function of ``size`` values and as many earlier ones: which are another object now, with their places.

    It is written out for each size, since a loop would take longer than all the rest of a line's work.
    """
    if size > _MOST_COMPARED:
        return _moved_of_many
    if size not in _comparers:
        lines = ["def moved(values, last):"]
        for name, source in (("a", "values"), ("b", "last")):
            lines.append(" %s = %s" % ("".join("%s%d, " % (name, i) for i in range(size)) or "()", source))
        lines.append(" found = []")
        lines += [" if a%d is not b%d: found.append((%d, a%d))" % (i, i, i, i) for i in range(size)]
        namespace: Dict[str, Any] = {}
        exec("\n".join([*lines, " return found"]), namespace)
        _comparers[size] = namespace["moved"]
    return _comparers[size]


def _moved_of_many(values: Any, last: List[Any]) -> List[Tuple[int, Any]]:
    return [(i, value) for i, (value, before) in enumerate(zip(values, last)) if value is not before]
