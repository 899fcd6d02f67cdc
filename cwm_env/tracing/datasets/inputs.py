"""Inputs for a function: made from its annotations by Hypothesis, and taken from the calls that tests make.

The function is only read, never run, to find them.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from cwm_env.errors import InputError

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def find_calls(source: str, entry: str, *, tests: str = "", count: int = 10, seed: int = 0) -> list[str]:
    """Up to ``count`` different calls of ``entry``, as text: those that ``tests`` make first, then made ones.

    Raises:
        InputError: the source does not parse, or has no such function.
    """
    function = _function(source, entry)
    calls = list(dict.fromkeys(calls_in(tests, entry)))[:count]
    if len(calls) < count:
        calls += [call for call in _made(function, entry, count, seed) if call not in calls]
    return calls[:count]


def calls_in(tests: str, entry: str) -> list[str]:
    """The calls of ``entry`` in a test's source whose arguments are all literals."""
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError) as error:
        raise InputError(f"the tests do not parse: {error}") from None
    found = []
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):
        if entry in (getattr(node.func, "id", ""), getattr(node.func, "attr", "")):
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            if all(map(_is_literal, arguments)) and all(keyword.arg for keyword in node.keywords):
                node.func = ast.Name(entry)
                found.append(ast.unparse(node))
    return found


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _function(source: str, entry: str) -> ast.FunctionDef:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise InputError(f"the source does not parse: {error}") from None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == entry:
            return node
    raise InputError(f"the source has no function {entry!r} at its top level")


def _made(function: ast.FunctionDef, entry: str, count: int, seed: int) -> list[str]:
    """Calls by Hypothesis, the same for the same seed."""
    import hypothesis
    from hypothesis import strategies as st

    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    named = st.fixed_dictionaries({arg.arg: _strategy(arg.annotation) for arg in arguments.kwonlyargs})
    whole = st.tuples(st.tuples(*(_strategy(arg.annotation) for arg in positional)), named)
    calls: list[str] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=4 * count,
        phases=[hypothesis.Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(whole)
    def draw(made: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
        shown = [repr(value) for value in made[0]] + [f"{name}={value!r}" for name, value in made[1].items()]
        call = f"{entry}({', '.join(shown)})"
        if call not in calls:
            calls.append(call)

    draw()
    return calls


def _strategy(annotation: ast.expr | None) -> SearchStrategy[Any]:
    """Values of an annotation; where it says nothing that is known, a mixture."""
    from hypothesis import strategies as st

    text = st.text("abcdefghij XYZ019_-.", max_size=12)
    simple: dict[str, SearchStrategy[Any]] = {
        "int": st.integers(-100, 100),
        "float": st.floats(-100, 100, allow_nan=False, width=16),
        "str": text,
        "bool": st.booleans(),
        "bytes": st.binary(max_size=8),
        "None": st.none(),
        "complex": st.complex_numbers(max_magnitude=10, allow_nan=False, width=32),
    }
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            return _strategy(ast.parse(annotation.value, mode="eval").body)
        except SyntaxError:
            return _strategy(None)
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return st.none()
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return _strategy(annotation.left) | _strategy(annotation.right)
    name = _name(annotation.value if isinstance(annotation, ast.Subscript) else annotation)
    if name in simple:
        return simple[name]
    inner = _parts(annotation)
    first = _strategy(inner[0] if inner else None) if name in _CONTAINERS else st.nothing()
    if name in ("list", "List", "Sequence", "Iterable", "Collection"):
        return st.lists(first, max_size=6)
    if name in ("set", "Set", "frozenset"):
        return st.sets(_hashable(inner[0] if inner else None), max_size=5)
    if name in ("dict", "Dict", "Mapping"):
        key = _hashable(inner[0] if inner else None)
        return st.dictionaries(key, _strategy(inner[1] if len(inner) > 1 else None), max_size=4)
    if name in ("tuple", "Tuple"):
        if len(inner) == 2 and isinstance(inner[1], ast.Constant) and inner[1].value is Ellipsis:
            return st.lists(first, max_size=5).map(tuple)
        return st.tuples(*map(_strategy, inner))
    if name == "Optional" and inner:
        return st.none() | first
    if name == "Union" and inner:
        return st.one_of(*map(_strategy, inner))
    if name == "Literal" and inner:
        return st.sampled_from([ast.literal_eval(part) for part in inner])
    return st.one_of(simple["int"], text, st.lists(simple["int"], max_size=5), simple["bool"])


_CONTAINERS = ("list", "List", "Sequence", "Iterable", "Collection", "tuple", "Tuple", "Optional")


def _hashable(annotation: ast.expr | None) -> SearchStrategy[Any]:
    name = _name(annotation)
    return _strategy(annotation if name in ("int", "str", "bool", "bytes", "float", "tuple") else ast.Name("int"))


def _name(annotation: ast.expr | None) -> str:
    if isinstance(annotation, ast.Attribute):
        return annotation.attr
    return annotation.id if isinstance(annotation, ast.Name) else ""


def _parts(annotation: ast.expr | None) -> list[ast.expr]:
    if not isinstance(annotation, ast.Subscript):
        return []
    return annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
