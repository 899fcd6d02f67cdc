"""Values as text: what ``repr`` says, without ever running the program's own code.

A ``__repr__`` of the program's may hang, raise, write or change the program's state, so it is never called. What the
text would be is worked out from outside: exactly for the built-in and the harmless standard types and for what
dataclasses, named tuples, enumerations and exceptions generate; for other classes as ``object.__repr__`` has it.
Memory addresses are left out. A text that was cut says so: ``<+N items>``, ``<+N chars>``.
"""

import datetime
import re
import sys
from collections import OrderedDict, defaultdict, deque
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Callable, Dict, Iterable, List, Set

from . import types_of as of
from .simple_repr import evaluate

ATOMS = frozenset([int, str, float, bool, type(None), bytes, complex, type(Ellipsis), type(NotImplemented), range])
"""Types whose values never change, refer to nothing, and cannot be watched by a weak reference."""
_BIG = 1 << 3000
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_Render = Callable[[Any, int], str]
_WRAPPER = type(object.__repr__)
_GENERATORS = ("generator", "coroutine", "async_generator")


class Renderer:
    """Turns values into text, bounded. One per recorder; not shared between threads."""

    def __init__(self, chars: int = 2000, items: int = 200, depth: int = 12) -> None:
        """Set the bounds: characters of one value, items of one container, containers within containers."""
        self.chars, self.items, self.depth = chars, items, depth
        self._open = set()  # type: Set[int]
        self.renderers = {
            int: _integer,
            str: self._string,
            bytes: self._string,
            float: _plain,
            bool: _plain,
            complex: _plain,
            range: _plain,
            type(None): _plain,
            type(Ellipsis): _plain,
            type(NotImplemented): _plain,
            bytearray: self._bytearray,
            list: self._list,
            tuple: self._tuple,
            dict: self._dict,
            set: self._set,
            frozenset: self._frozenset,
            type: lambda value, depth: "<class '{}'>".format(of.full_name(value)),
            FunctionType: lambda value, depth: "<function {}>".format(value.__qualname__),
            BuiltinFunctionType: lambda value, depth: _ADDRESS.sub("", repr(value)),
            MethodType: self._method,
            ModuleType: _module,
            slice: self._slice,
        }  # type: Dict[type, _Render]
        self.constant = {}  # type: Dict[type, str]

    def text(self, value: Any) -> str:
        """The value as text. Never raises."""
        try:
            found = self.render(value, self.depth)
        except Exception:  # a C type of another package, at worst; RecursionError near the program's own limit
            self._open.clear()
            found = "<{} object>".format(of.full_name(type(value)))
        if len(found) > self.chars:
            return "{} <+{} chars>".format(found[: self.chars], len(found) - self.chars)
        # The format gives this text a meaning of its own, and the program can make one that reads so.
        return "<'..'>" if found == ".." else found

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
            return self._exception
        if owner in self.renderers and owner in _SUBCLASSED:
            return self._subclass(owner)
        if owner in (deque, defaultdict, OrderedDict):
            return {deque: self._deque, defaultdict: self._defaultdict, OrderedDict: self._ordered}[owner]
        return self._view if name in ("dict_keys", "dict_values", "dict_items") else self._opaque

    def _python_repr(self, kind: type, owner: type, function: Any) -> _Render:
        if of.own(owner, "__dataclass_fields__") is not None and hasattr(function, "__wrapped__"):
            return self._dataclass
        if of.own(owner, "_fields") is not None and function.__code__.co_filename == of.NAMEDTUPLE_FILE:
            return self._namedtuple
        if function.__module__ == "enum":
            return self._enum
        if function.__module__ == "collections" and of.simple_name(owner) == "Counter":
            return self._counter
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
                of.simple_name(type(value)), self._joined(value, owner.__iter__(value), owner.__len__(value), depth)  # type: ignore[attr-defined]
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

    def _list(self, value: List[Any], depth: int) -> str:
        return "[{}]".format(self._joined(value, value, len(value), depth)) if value else "[]"

    def _tuple(self, value: Any, depth: int) -> str:
        if not value:
            return "()"
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

    def _deque(self, value: Any, depth: int) -> str:
        size, most = deque.__len__(value), deque.maxlen.__get__(value)  # type: ignore[attr-defined]
        inner = "[{}]".format(self._joined(value, deque.__iter__(value), size, depth))
        return "{}({}{})".format(of.simple_name(type(value)), inner, "" if most is None else ", maxlen={}".format(most))

    def _defaultdict(self, value: Any, depth: int) -> str:
        factory = defaultdict.default_factory.__get__(value)  # type: ignore[attr-defined]
        inner = self._dict(dict(dict.items(value)), depth)
        return "{}({}, {})".format(of.simple_name(type(value)), self.render(factory, depth - 1), inner)

    def _ordered(self, value: Any, depth: int) -> str:
        items = list(OrderedDict.items(value))
        if not items:
            return of.simple_name(type(value)) + "()"
        if sys.version_info >= (3, 12):
            return "{}({})".format(of.simple_name(type(value)), self._dict(dict(items), depth))
        return "{}({})".format(of.simple_name(type(value)), self._list(items, depth))

    def _counter(self, value: Any, depth: int) -> str:
        items = list(dict.items(value))
        if all(type(count) is int for _, count in items):
            items.sort(key=lambda pair: pair[1], reverse=True)
        inner = self._dict(dict(items), depth) if items else ""
        return "{}({})".format(of.simple_name(type(value)), inner)

    def _view(self, value: Any, depth: int) -> str:
        return "{}([{}])".format(of.simple_name(type(value)), self._joined(value, value, len(value), depth))

    def _slice(self, value: Any, depth: int) -> str:
        return "slice({})".format(", ".join(self.render(part, depth - 1) for part in (value.start, value.stop, value.step)))

    def _method(self, value: Any, depth: int) -> str:
        function, bound = value.__func__, value.__self__
        name = function.__qualname__ if type(function) is FunctionType else "?"
        return "<bound method {} of {}>".format(name, self.render(bound, depth - 1))

    def _exception(self, value: Any, depth: int) -> str:
        args = BaseException.args.__get__(value)  # type: ignore[attr-defined]
        return "{}({})".format(of.simple_name(type(value)), ", ".join(self.render(arg, depth - 1) for arg in args[: self.items]))

    def _dataclass(self, value: Any, depth: int) -> str:
        if id(value) in self._open:
            return "..."
        owner, fields = of.find(type(value), "__dataclass_fields__")
        self._open.add(id(value))
        try:
            shown = ["{}={}".format(f.name, self._field(value, f.name, depth)) for f in fields.values() if _shown(f)]
        finally:
            self._open.discard(id(value))
        return "{}({})".format(of.qualified_name(type(value)), ", ".join(shown))

    def _field(self, value: Any, name: str, depth: int) -> str:
        try:
            return self.render(of.attribute(value, name), depth - 1) if depth > 0 else "<+1 items>"
        except LookupError:
            return "<unset>"

    def _namedtuple(self, value: Any, depth: int) -> str:
        fields = of.find(type(value), "_fields")[1]
        parts = ["{}={}".format(name, self.render(held, depth - 1)) for name, held in zip(fields, tuple.__iter__(value))]
        return "{}({})".format(of.simple_name(type(value)), ", ".join(parts))

    def _enum(self, value: Any, depth: int) -> str:
        held = of.attributes(value)
        name, content = held.get("_name_"), held.get("_value_")
        return "<{}.{}: {}>".format(of.simple_name(type(value)), name, self.render(content, depth - 1))


def _plain(value: Any, depth: int) -> str:
    return repr(value)


def _integer(value: int, depth: int) -> str:
    return repr(value) if -_BIG < value < _BIG else "<int of {} bits>".format(value.bit_length())


def _module(value: Any, depth: int) -> str:
    name = of.attributes(value).get("__name__")
    return "<module {!r}>".format(name if type(name) is str else "?")


def _shown(field: Any) -> bool:
    return bool(field.repr) and getattr(field._field_type, "name", "") == "_FIELD"


_SUBCLASSED = {
    int: lambda value: int.__index__(value),
    str: lambda value: str.__str__(value),
    float: lambda value: float.__pos__(value),
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    list: lambda value: list.__getitem__(value, slice(None)),
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
    dict: lambda value: dict(dict.items(value)),
    set: None,
    frozenset: None,
}  # type: Dict[type, Any]
