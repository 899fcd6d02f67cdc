"""Texts of the standard library's containers, and of what dataclasses, named tuples and enumerations generate.

Each function takes the renderer, the value, and how many levels of containers may follow; the last ones need none.
"""

import sys
from collections import OrderedDict, defaultdict, deque
from types import FunctionType
from typing import Any

from cwm_env.tracing.inside import types_of as of

_default_factory = defaultdict.__dict__["default_factory"].__get__
_maxlen = deque.__dict__["maxlen"].__get__
_args = BaseException.__dict__["args"].__get__


def deque_text(renderer: Any, value: Any, depth: int) -> str:
    """``collections.deque``."""
    size, most = deque.__len__(value), _maxlen(value)
    inner = "[{}]".format(renderer._joined(value, deque.__iter__(value), size, depth))
    return "{}({}{})".format(of.simple_name(type(value)), inner, "" if most is None else ", maxlen={}".format(most))


def defaultdict_text(renderer: Any, value: Any, depth: int) -> str:
    """``collections.defaultdict``."""
    factory = _default_factory(value)
    inner = renderer._dict(dict(dict.items(value)), depth)
    return "{}({}, {})".format(of.simple_name(type(value)), renderer.render(factory, depth - 1), inner)


def ordered(renderer: Any, value: Any, depth: int) -> str:
    """``collections.OrderedDict``, as this Python writes it."""
    items = list(OrderedDict.items(value))
    if not items:
        return of.simple_name(type(value)) + "()"
    if sys.version_info >= (3, 12):
        return "{}({})".format(of.simple_name(type(value)), renderer._dict(dict(items), depth))
    return "{}({})".format(of.simple_name(type(value)), renderer._list(items, depth))


def counter(renderer: Any, value: Any, depth: int) -> str:
    """``collections.Counter``, the most common first."""
    items = list(dict.items(value))
    if all(type(count) is int for _, count in items):
        items.sort(key=lambda pair: pair[1], reverse=True)
    inner = renderer._dict(dict(items), depth) if items else ""
    return "{}({})".format(of.simple_name(type(value)), inner)


def view(renderer: Any, value: Any, depth: int) -> str:
    """A view of a dict's keys, values or items."""
    return "{}([{}])".format(of.simple_name(type(value)), renderer._joined(value, value, len(value), depth))


def slice(renderer: Any, value: Any, depth: int) -> str:
    """A slice."""
    return "slice({})".format(
        ", ".join(renderer.render(part, depth - 1) for part in (value.start, value.stop, value.step))
    )


def method(renderer: Any, value: Any, depth: int) -> str:
    """A bound method."""
    function, bound = value.__func__, value.__self__
    name = function.__qualname__ if type(function) is FunctionType else "?"
    return "<bound method {} of {}>".format(name, renderer.render(bound, depth - 1))


def exception(renderer: Any, value: Any, depth: int) -> str:
    """An exception whose class has no repr of its own."""
    args = _args(value)
    return "{}({})".format(
        of.simple_name(type(value)), ", ".join(renderer.render(arg, depth - 1) for arg in args[: renderer.items])
    )


def dataclass(renderer: Any, value: Any, depth: int) -> str:
    """A class with the repr that ``dataclasses`` makes."""
    if id(value) in renderer._open:
        return "..."
    fields = of.find(type(value), "__dataclass_fields__")[1]
    renderer._open.add(id(value))
    try:
        shown = ["{}={}".format(f.name, _field(renderer, value, f.name, depth)) for f in fields.values() if _shown(f)]
    finally:
        renderer._open.discard(id(value))
    return "{}({})".format(of.qualified_name(type(value)), ", ".join(shown))


def namedtuple(renderer: Any, value: Any, depth: int) -> str:
    """A class with the repr that ``collections.namedtuple`` makes."""
    fields = of.find(type(value), "_fields")[1]
    parts = [
        "{}={}".format(name, renderer.render(held, depth - 1)) for name, held in zip(fields, tuple.__iter__(value))
    ]
    return "{}({})".format(of.simple_name(type(value)), ", ".join(parts))


def enum(renderer: Any, value: Any, depth: int) -> str:
    """A member of an enumeration."""
    held = of.attributes(value)
    name, content = held.get("_name_"), held.get("_value_")
    return "<{}.{}: {}>".format(of.simple_name(type(value)), name, renderer.render(content, depth - 1))


def _field(renderer: Any, value: Any, name: str, depth: int) -> str:
    try:
        return renderer.render(of.attribute(value, name), depth - 1) if depth > 0 else "<+1 items>"
    except LookupError:
        return "<unset>"


def _shown(field: Any) -> bool:
    return bool(field.repr) and getattr(field._field_type, "name", "") == "_FIELD"


def plain(value: Any, depth: int) -> str:
    """What Python says."""
    return repr(value)


def integer(value: int, depth: int) -> str:
    """A whole number, of up to a thousand digits."""
    return repr(value) if -BIG < value < BIG else "<int of {} bits>".format(value.bit_length())


def module(value: Any, depth: int) -> str:
    """A module."""
    name = of.attributes(value).get("__name__")
    return "<module {!r}>".format(name if type(name) is str else "?")


BIG = 1 << 3000
COLLECTIONS: Any = {
    deque: deque_text,
    defaultdict: defaultdict_text,
    OrderedDict: ordered,
}
