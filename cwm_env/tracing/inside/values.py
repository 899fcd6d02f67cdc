"""Values as text: what ``repr`` says, without ever running the program's own code.

A ``__repr__`` of the program's may hang, raise, write or change the program's state, so it is never called. What the
text would be is worked out from outside: exactly for the built-in and the harmless standard types and for what
dataclasses, named tuples, enumerations and exceptions generate; for other classes as ``object.__repr__`` has it.
Memory addresses are left out. A text that was cut says so: ``<+N items>``, ``<+N chars>``.
"""

import datetime
import re
from functools import partial
from itertools import islice
from marshal import dumps
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Callable, Dict, Iterable, List, Optional, Set

from cwm_env.tracing.inside import known
from cwm_env.tracing.inside import types_of as of
from cwm_env.tracing.inside.simple_repr import evaluate

ATOMS = frozenset([int, str, float, bool, type(None), bytes, complex, type(Ellipsis), range])
"""Types whose values never change, refer to nothing, and cannot be watched by a weak reference. ``NotImplemented`` is
not among them: to test whether it is true may run code."""
_MARSHALLED = frozenset([int, str, float, bool, type(None), bytes, complex])
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_Render = Callable[[Any, int], str]
_WRAPPER = type(object.__repr__)
_GENERATORS = ("generator", "coroutine", "async_generator")


class Renderer:
    """Turns values into text, bounded. One per recorder; not shared between threads."""

    def __init__(self, chars: int = 2000, items: int = 200, depth: int = 12) -> None:
        """Set the bounds: characters of one value, items of one container, containers within containers."""
        self.chars, self.items, self.depth = chars, items, depth
        self._open: Set[int] = set()
        self.renderers: Dict[type, _Render] = {
            int: known.integer,
            str: self._string,
            bytes: self._string,
            float: known.plain,
            bool: known.plain,
            complex: known.plain,
            range: known.plain,
            type(None): known.plain,
            type(Ellipsis): known.plain,
            type(NotImplemented): known.plain,
            bytearray: self._bytearray,
            list: self._list,
            tuple: self._tuple,
            dict: self._dict,
            set: self._set,
            frozenset: self._frozenset,
            type: lambda value, depth: "<class '{}'>".format(of.full_name(value)),
            FunctionType: lambda value, depth: "<function {}>".format(value.__qualname__),
            BuiltinFunctionType: lambda value, depth: _ADDRESS.sub("", repr(value)),
            MethodType: partial(known.method, self),
            ModuleType: known.module,
            slice: partial(known.slice, self),
        }
        self.constant: Dict[type, str] = {}

    def text(self, value: Any) -> str:
        """The value as text. Never raises."""
        try:
            found = self.render(value, self.depth)
        except Exception:  # a C type of another package, at worst; RecursionError near the program's own limit
            self._open.clear()
            found = "<{} object>".format(of.full_name(type(value)))
        # The format gives this text a meaning of its own, and the program can make one that reads so.
        return "<'..'>" if found == ".." else self.cut(found)

    def cut(self, text: str) -> str:
        """The text of a value, no longer than it may be."""
        if len(text) > self.chars:
            return "{} <+{} chars>".format(text[: self.chars], len(text) - self.chars)
        return text

    def enclosed(self, brackets: str, parts: List[str]) -> str:
        """A container from the texts of its items, as far as they are shown."""
        inner = ", ".join(parts)
        if len(inner) + 2 > self.chars:
            shown, left = 0, self.chars
            while shown < len(parts) and left >= 0:
                left -= len(parts[shown]) + 2
                shown += 1
            if shown < len(parts):
                inner = "{}, <+{} items>".format(", ".join(parts[:shown]), len(parts) - shown)
        if brackets == "()" and len(parts) == 1:
            inner += ","
        return f"{brackets[0]}{inner}{brackets[1]}"

    def render(self, value: Any, depth: int) -> str:
        """The value as text at ``depth`` further levels."""
        kind = type(value)
        found = self.constant.get(kind)
        if found is not None:
            return found
        renderer = self.renderers.get(kind)
        if renderer is None:
            renderer = self._classify(kind)
        return renderer(value, depth)

    def _classify(self, kind: type) -> _Render:
        renderer = self._renderer_of(kind)
        if len(self.renderers) > 20000:  # a program that makes classes without end
            return renderer
        self.renderers[kind] = renderer
        if renderer is self._opaque:
            self.constant[kind] = "<{} object>".format(of.full_name(kind))
        return renderer

    def _renderer_of(self, kind: type) -> _Render:
        owner, function = of.find(kind, "__repr__")
        if of.derives(kind, type):
            return self.renderers[type]
        name = of.simple_name(kind)
        if name in _GENERATORS and not of.on_heap(kind):
            return lambda value, depth: "<{} object {}>".format(name, value.__qualname__)
        if of.from_standard_library(kind):
            return self._leaf
        if of.module_name(kind) == "numpy" and not of.on_heap(kind):
            return self._array
        if owner is None or owner is object:
            return self._opaque
        if type(function) is FunctionType:
            return self._python_repr(kind, owner, function)
        if type(function) is not _WRAPPER:
            return self._opaque
        if of.derives(kind, BaseException):
            return partial(known.exception, self)
        if owner in self.renderers and owner in _SUBCLASSED:
            return self._subclass(owner)
        collection = known.COLLECTIONS.get(owner)
        if collection is not None:
            return partial(collection, self)
        return partial(known.view, self) if name in ("dict_keys", "dict_values", "dict_items") else self._opaque

    def _python_repr(self, kind: type, owner: type, function: Any) -> _Render:
        if of.own(owner, "__dataclass_fields__") is not None and hasattr(function, "__wrapped__"):
            return partial(known.dataclass, self)
        if of.own(owner, "_fields") is not None and function.__code__.co_filename == of.NAMEDTUPLE_FILE:
            return partial(known.namedtuple, self)
        if function.__module__ == "enum":
            return partial(known.enum, self)
        if function.__module__ == "collections" and of.simple_name(owner) == "Counter":
            return partial(known.counter, self)
        return lambda value, depth: evaluate(self, value, function, depth) or self._default(kind)

    def _default(self, kind: type) -> str:
        return "<{} object>".format(of.full_name(kind))

    def _opaque(self, value: Any, depth: int) -> str:
        return self._default(type(value))

    def _leaf(self, value: Any, depth: int) -> str:
        kind = type(value)
        zone = getattr(value, "tzinfo", None) if of.derives(kind, datetime.tzinfo) is False else None
        if zone is not None and not of.from_standard_library(type(zone)):
            return self._default(kind)
        return _ADDRESS.sub("", repr(value))

    def _array(self, value: Any, depth: int) -> str:
        if getattr(value, "dtype", None) is None or value.dtype.kind not in "biufcSUmM" or value.size > 4 * self.items:
            return self._default(type(value))
        return repr(value)

    def _subclass(self, owner: type) -> _Render:
        """A class of the program's that inherits its repr from a built-in container or number."""
        inner, convert = self.renderers[owner], _SUBCLASSED[owner]
        if owner in (set, frozenset):
            return lambda value, depth: "{}({{{}}})".format(
                of.simple_name(type(value)),
                self._joined(value, owner.__iter__(value), owner.__len__(value), depth),
            )
        return lambda value, depth: inner(convert(value), depth)

    def _string(self, value: Any, depth: int) -> str:
        if len(value) > self.chars:
            return "{!r} <+{} chars>".format(value[: self.chars - 60], len(value) - self.chars + 60)
        return repr(value)

    def _bytearray(self, value: Any, depth: int) -> str:
        return "bytearray({})".format(self._string(bytes(value[: self.chars + 1]), depth))

    def _joined(self, owner: Any, values: Iterable[Any], size: int, depth: int) -> str:
        """Items, separated; the caller puts the brackets."""
        if depth <= 0:
            return "<+{} items>".format(size)
        if id(owner) in self._open:
            return "..."
        self._open.add(id(owner))
        try:
            parts, left = [], self.chars
            for value in islice(values, self.items):
                parts.append(self.render(value, depth - 1))
                left -= len(parts[-1]) + 2
                if left < 0:
                    break
        finally:
            self._open.discard(id(owner))
        if len(parts) < size:
            parts.append("<+{} items>".format(size - len(parts)))
        return ", ".join(parts)

    def atoms(self, values: List[Any]) -> List[str]:
        """The texts of atoms, all at once where none can be too large."""
        return list(map(repr, values)) if self._small(values) else [self.render(value, 1) for value in values]

    def atom(self, value: Any) -> str:
        """The text of an atom."""
        kind = type(value)
        if (kind is int and -known.BIG < value < known.BIG) or kind is float:
            return repr(value)
        return self.render(value, 1)

    def _small(self, values: Any) -> bool:
        """Whether these are atoms that ``repr`` writes as we do, and of which none is large: few bytes in all."""
        if not _MARSHALLED.issuperset(map(type, values)):
            return False
        try:
            size = len(dumps(values if type(values) in (list, tuple) else list(values), 2))
        except ValueError:
            return False
        if size < 400:  # an integer that is cut has more
            return True
        return size < 4 * self.chars and not any(type(v) is int and not -known.BIG < v < known.BIG for v in values)

    def _whole(self, value: Any) -> Optional[str]:
        """A container of few small atoms, written by the interpreter itself."""
        if len(value) > self.items or not self._small(value):
            return None
        if type(value) is dict and not self._small(value.values()):
            return None
        text = repr(value)
        return text if len(text) <= self.chars else None

    def _list(self, value: List[Any], depth: int) -> str:
        if depth > 0:
            whole = self._whole(value)
            if whole is not None:
                return whole
        return "[{}]".format(self._joined(value, value, len(value), depth)) if value else "[]"

    def _tuple(self, value: Any, depth: int) -> str:
        if not value:
            return "()"
        if depth > 0:
            whole = self._whole(value)
            if whole is not None:
                return whole
        return ("({},)" if len(value) == 1 else "({})").format(self._joined(value, value, len(value), depth))

    def _set(self, value: Any, depth: int) -> str:
        return "{{{}}}".format(self._joined(value, value, len(value), depth)) if value else "set()"

    def _frozenset(self, value: Any, depth: int) -> str:
        return "frozenset({})".format(self._set(value, depth) if value else "")

    def _dict(self, value: Any, depth: int) -> str:
        if not value:
            return "{}"
        if depth <= 0:
            return "{{<+{} items>}}".format(len(value))
        whole = self._whole(value)
        if whole is not None:
            return whole
        if id(value) in self._open:
            return "{...}"
        self._open.add(id(value))
        try:
            parts, left = [], self.chars
            for key, held in islice(value.items(), self.items):
                parts.append("{}: {}".format(self.render(key, depth - 1), self.render(held, depth - 1)))
                left -= len(parts[-1]) + 2
                if left < 0:
                    break
        finally:
            self._open.discard(id(value))
        if len(parts) < len(value):
            parts.append("<+{} items>".format(len(value) - len(parts)))
        return "{{{}}}".format(", ".join(parts))


_SUBCLASSED: Dict[type, Any] = {
    int: lambda value: int.__index__(value),
    str: lambda value: str.__str__(value),
    float: lambda value: float.__pos__(value),
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    list: lambda value: list.__getitem__(value, slice(None)),
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
    dict: lambda value: dict(dict.items(value)),
    set: None,
    frozenset: None,
}
