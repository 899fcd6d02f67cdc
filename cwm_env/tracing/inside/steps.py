"""What one instruction does, with kinds in place of values (see ``lines.py``).

Kinds of values: ``a`` an atom; ``l``, ``t``, ``d`` a list, tuple or dict of atoms; ``r`` a list or tuple of lists or
tuples of atoms, ``w`` one of these, each with the name of the variable that it is in; ``i`` something built in that
runs nothing and holds nothing but such things; ``h`` anything at all, but held by something else too, so that to let
go of it runs nothing; ``*`` and ``.`` a function and a method; ``?`` not known.
"""

import sys
from typing import Any, Callable, Dict, List

CONTAINERS = frozenset("ltdrw")
SAFE = frozenset("ai") | CONTAINERS
"""Kinds that run nothing when they are tested, compared, called a method of, or let go of."""
HELD = SAFE | frozenset("h")
ANY = HELD | frozenset("*.?")
_ATOMS = frozenset([int, str, float, bool, type(None), bytes, complex])
_MAKE_ATOMS = frozenset("abs bool chr float hex int isinstance len ord repr round str".split())
PURE = _MAKE_ATOMS | frozenset("divmod enumerate list max min range reversed sorted sum tuple zip".split())
"""Functions that run nothing where their arguments do not."""
_OF_LISTS = frozenset("append clear extend insert pop remove reverse sort".split())
_CHANGING = {"l": _OF_LISTS, "r": _OF_LISTS, "w": _OF_LISTS, "d": frozenset("clear pop setdefault update".split())}
_READING = {"d": frozenset("copy get items keys values".split())}
_READING.update({kind: frozenset("copy count index".split()) for kind in "ltrw"})
_OPERATORS = {0: "+", 1: "&", 2: "//", 6: "%", 9: ">>", 10: "-", 12: "^"}
"""Of whole numbers that are no longer than what they are made of."""
_IN_PLACE = 13


class Unknown(Exception):
    """It may do anything."""


class Worth(str):
    """A kind, and an expression of what the variables are as the line begins, which gives the value, or its row."""

    of = ""


def worth(kind: str, text: str) -> str:
    """A kind with its expression."""
    made = Worth(kind)
    made.of = text if len(text) < 200 else ""
    return made


def may_hold(kind: str) -> bool:
    """Whether it is a container, or may hold one."""
    return kind[0] in CONTAINERS or kind == "i"


def either(a: str, b: str) -> str:
    """What is one or the other."""
    if a == b:
        return a if a is b else str(a)
    if a[0] in SAFE and b[0] in SAFE:
        return "i"
    return "h" if a[0] in HELD and b[0] in HELD else "?"


def idle(line: Any, arg: int, value: Any) -> None:
    """Nothing that matters here."""


def load(line: Any, arg: int, value: Any) -> None:
    """A variable, or two."""
    for name in value if type(value) is tuple else (value,):
        kind = line.kind(name)
        if kind == "?":
            raise Unknown
        line.push(worth(kind, "v[{!r}]".format(name)) if kind == "a" else kind)


def store(line: Any, arg: int, value: Any) -> None:
    """A variable, or two."""
    for name in value if type(value) is tuple else (value,):
        line.store(name)


def store_load(line: Any, arg: int, value: Any) -> None:
    """Store one variable, load another."""
    line.store(value[0])
    load(line, arg, value[1])


def constant(line: Any, arg: int, value: Any) -> None:
    """A constant."""
    plain = type(value) is tuple and _ATOMS.issuperset(map(type, value))
    if type(value) is int or type(value) is str:
        line.push(worth("a", repr(value)))
    else:
        line.push("a" if type(value) in _ATOMS else "i" if plain else "h")


def load_global(line: Any, arg: int, value: Any) -> None:
    """A global or built-in name."""
    if arg & 1:
        line.push("*")
    if value in PURE:
        line.names.add(value)
    line.push("*" + value if value in PURE else "h")


def push_null(line: Any, arg: int, value: Any) -> None:
    """What tells a function from a method."""
    line.push("*")


def method(line: Any, arg: int, value: Any) -> None:
    """Look a method up, to be called."""
    if sys.version_info >= (3, 12) and not arg & 1:
        raise Unknown
    owner = line.pop()
    line.push("." + value, owner)


def call(line: Any, arg: int, value: Any) -> None:
    """Call a function or a method."""
    given = [line.pop(ANY) for _ in range(arg)][::-1]
    upper, lower = line.pop(ANY), line.pop(ANY)
    if lower[0] == ".":
        _call_method(line, lower[1:], upper, given)
    else:
        _call_function(line, (upper + lower).strip("*") if upper[0] == lower[0] == "*" else "", given)


def _call_function(line: Any, name: str, given: List[str]) -> None:
    if name not in PURE:
        raise Unknown
    checked = given[:-1] if name == "isinstance" and given[-1][0] == "*" else given
    if not all(kind[0] in SAFE for kind in checked):
        raise Unknown
    line.push("irange" if name == "range" else "a" if name in _MAKE_ATOMS else "i")


def _call_method(line: Any, name: str, owner: str, given: List[str]) -> None:
    kind, safe = owner[0], all(value[0] in SAFE for value in given)
    if name in _CHANGING.get(kind, ()) and (safe or (name == "append" and given == ["h"])):
        line.mutate(owner, all(value == "a" for value in given), name, *given)
    elif not safe or (kind != "a" and name not in _READING.get(kind, ())):
        raise Unknown
    line.push("i")


def subscript(line: Any, arg: int, value: Any) -> None:
    """``owner[key]``"""
    key, owner = line.pop(), line.pop()
    if key != "a":
        line.push("i")
    else:
        line.push(worth("w" + owner[1:], expression(key)) if owner[0] == "r" else "i" if owner[0] == "i" else "a")


def expression(kind: str) -> str:
    """What gives the value; empty where nothing does."""
    return kind.of if type(kind) is Worth else ""


def store_subscript(line: Any, arg: int, value: Any) -> None:
    """``owner[key] = held``"""
    key, owner, held = line.pop("a"), line.pop("ldrw"), line.pop(HELD)
    line.mutate(owner, held == key == "a", "set", key)


def take(count: int, made: str) -> Callable[[Any, int, Any], None]:
    """So many values, and ``arg`` more for -1 and below, give one of this kind."""

    def step(line: Any, arg: int, value: Any) -> None:
        for _ in range(count if count >= 0 else -count * arg):
            line.pop()
        if made:
            line.push(made)

    return step


def binary(line: Any, arg: int, value: Any) -> None:
    """An operator."""
    right, left = line.pop(), line.pop()
    if arg >= _IN_PLACE and left != "a":
        raise Unknown
    kind = "a" if left == right == "a" else "i"
    one, two = expression(left), expression(right)
    line.push(
        worth(kind, "({} {} {})".format(one, _OPERATORS[arg], two)) if one and two and arg in _OPERATORS else kind
    )


def build_const_map(line: Any, arg: int, value: Any) -> None:
    """A dict of constant keys."""
    take(arg + 1, "i")(line, arg, value)


def identity(line: Any, arg: int, value: Any) -> None:
    """``is``"""
    line.pop(HELD)
    line.pop(HELD)
    line.push("a")


def drop(line: Any, arg: int, value: Any) -> None:
    """Let go of a value."""
    line.pop(HELD | {"*"})


def test_or_pop(line: Any, arg: int, value: Any) -> None:
    """A test that leaves its value where it jumps."""
    line.push(line.pop())
    line.leave(value)
    line.pop()


def test_none(line: Any, arg: int, value: Any) -> None:
    """Whether it is None."""
    line.pop(HELD)


def copy(line: Any, arg: int, value: Any) -> None:
    """The value that stands so deep, once more."""
    line.push(line.state.stack[-arg])


def swap(line: Any, arg: int, value: Any) -> None:
    """Change places."""
    stack = line.state.stack
    stack[-1], stack[-arg] = stack[-arg], stack[-1]


def form(line: Any, arg: int, value: Any) -> None:
    """A part of a formatted string, with its format."""
    take(2 if arg & 4 else 1, "a")(line, arg, value)


def unpack(line: Any, arg: int, value: Any) -> None:
    """So many parts of a value."""
    owner = line.pop()
    part = "w" + owner[1:] if owner[0] == "r" else "i" if owner[0] == "i" else "a"
    line.push(*[part] * arg)


def iterate(line: Any, arg: int, value: Any) -> None:
    """Begin a loop; one over numbers holds nothing that its end lets go of."""
    line.push("*iterator" if line.pop() == "irange" else "?")


def for_iter(line: Any, arg: int, value: Any) -> None:
    """Take the next number, or end the loop."""
    if sys.version_info < (3, 12):
        line.leave(value, [])
    else:
        line.leave(value, ["*iterator", "a"])
    line.push("a")


def end_for(line: Any, arg: int, value: Any) -> None:
    """After a loop."""
    for _ in range(2 if sys.version_info < (3, 13) else 1):
        drop(line, arg, value)


STEPS: Dict[str, Callable[[Any, int, Any], None]] = {
    "BINARY_OP": binary, "BINARY_SLICE": take(3, "i"), "BINARY_SUBSCR": subscript,
    "BUILD_CONST_KEY_MAP": build_const_map, "BUILD_LIST": take(-1, "i"), "BUILD_MAP": take(-2, "i"),
    "BUILD_SLICE": take(-1, "islice"), "BUILD_STRING": take(-1, "a"), "BUILD_TUPLE": take(-1, "i"), "CALL": call,
    "COMPARE_OP": take(2, "a"), "CONTAINS_OP": take(2, "a"), "CONVERT_VALUE": take(1, "a"), "COPY": copy,
    "END_FOR": end_for, "FORMAT_SIMPLE": take(1, "a"), "FORMAT_VALUE": form, "FORMAT_WITH_SPEC": take(2, "a"),
    "FOR_ITER": for_iter, "GET_ITER": iterate, "IS_OP": identity, "JUMP_IF_FALSE_OR_POP": test_or_pop,
    "JUMP_IF_TRUE_OR_POP": test_or_pop, "LIST_EXTEND": take(1, ""), "LOAD_ATTR": method, "LOAD_CONST": constant,
    "LOAD_FAST": load, "LOAD_FAST_CHECK": load, "LOAD_FAST_LOAD_FAST": load, "LOAD_GLOBAL": load_global,
    "LOAD_METHOD": method, "POP_TOP": drop, "PUSH_NULL": push_null, "STORE_FAST": store,
    "STORE_FAST_LOAD_FAST": store_load, "STORE_FAST_STORE_FAST": store, "STORE_SUBSCR": store_subscript, "SWAP": swap,
    "TO_BOOL": take(1, "a"), "UNARY_NEGATIVE": take(1, "a"), "UNARY_NOT": take(1, "a"), "UNPACK_SEQUENCE": unpack,
}  # fmt: skip
for _name in (
    "CACHE COPY_FREE_VARS JUMP_BACKWARD JUMP_FORWARD MAKE_CELL NOP PRECALL RESUME RETURN_CONST RETURN_GENERATOR"
    " RETURN_VALUE YIELD_VALUE"
).split():
    STEPS[_name] = idle
for _name, _step in (("TRUE", take(1, "")), ("FALSE", take(1, "")), ("NONE", test_none), ("NOT_NONE", test_none)):
    for _way in ("", "FORWARD_", "BACKWARD_"):
        STEPS["POP_JUMP_{}IF_{}".format(_way, _name)] = _step
