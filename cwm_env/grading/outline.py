"""A test module read as data: where something may be inserted, and which of its tests can be copied and altered."""

from __future__ import annotations

import ast
import functools
import random
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

_STEERED = re.compile(r"skip|xfail|exit\b")


@dataclass(frozen=True, slots=True)
class Test:
    """A test that compares for equality."""

    __test__ = False  # not one of ours, whatever pytest thinks of its name

    path: tuple[str, ...]
    """The name of its class, if it has one, and its own."""
    source: str
    """Without its docstring, at the left margin."""
    last_line: int
    indentation: int
    """Columns; more than none for a method."""

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path[-1]


@dataclass(frozen=True, slots=True)
class Outline:
    """What of a module matters here."""

    boundaries: tuple[int, ...]
    """Lines after which a new definition may stand; empty where only the end will do."""
    copyable: tuple[Test, ...]
    only_methods: bool
    """Whether a plain function would be given parameters that it does not take."""
    words: tuple[str, ...]
    """What the names of its tests are made of."""


@functools.lru_cache(maxsize=512)
def outline(source: bytes) -> Outline:
    """Read a module; one that is no Python of ours is only ever added to at its end."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Outline((), (), True, ())
    names = re.findall(rb"\bdef test_(\w+)", source)
    words = [word for name in names for word in name.decode().split("_") if len(word) > 2 and word.isascii()]
    parametrised = b"pytest_generate_tests" in source or re.search(rb"^pytestmark\b[^#]*parametrize", source, re.M)
    if b"\r" in source or b"\f" in source:  # what ast counts as ends of lines, and we do not, or the other way round
        return Outline((), (), bool(parametrised), tuple(words))
    return Outline(tuple(_boundaries(body)), tuple(_copyable(body)), bool(parametrised), tuple(words))


def altered(test: Test, name: str, chance: random.Random) -> str:
    """The test under another name, in which every value that is compared is expected to be another."""
    function = ast.parse(test.source).body[0]
    assert isinstance(function, ast.FunctionDef)
    function.name = name
    changed = ast.fix_missing_locations(_Alter(chance).visit(function))
    return textwrap.indent(ast.unparse(changed), " " * test.indentation)


def _boundaries(body: Sequence[ast.stmt]) -> list[int]:
    found: list[int] = []
    begun = False
    for node, following in zip(body, [*body, None][1:], strict=True):
        begun = begun or isinstance(node, (ast.FunctionDef, ast.ClassDef))
        if begun and (following is None or _first_line(following) > (node.end_lineno or 0)):
            found.append(node.end_lineno or 0)
    return found


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _copyable(body: Sequence[ast.stmt]) -> list[Test]:
    places: list[tuple[tuple[str, ...], Sequence[ast.stmt]]] = [((), body)]
    places += [((node.name,), node.body) for node in body if isinstance(node, ast.ClassDef)]
    return [
        Test((*within, function.name), source, function.end_lineno or 0, function.col_offset)
        for within, place in places
        for function in place
        if isinstance(function, ast.FunctionDef)
        if (source := _bare(function)) and any(_equality(node) is not None for node in function.body)
    ]


def _bare(function: ast.FunctionDef) -> str:
    """The source of a test without its docstring and with one set of parameters; empty where it cannot be copied."""
    tree = ast.parse(ast.unparse(function)).body[0]
    assert isinstance(tree, ast.FunctionDef)
    if ast.get_docstring(tree, clean=False) is not None:
        tree.body = tree.body[1:] or [ast.Pass()]
    for decorator in tree.decorator_list:
        name = ast.unparse(decorator.func) if isinstance(decorator, ast.Call) else ""
        if not isinstance(decorator, ast.Call) or not name.endswith((".parametrize", ".usefixtures")):
            return ""
        if name.endswith(".parametrize"):
            if len(decorator.args) < 2 or not isinstance(decorator.args[1], (ast.List, ast.Tuple)):
                return ""
            decorator.args[1].elts = decorator.args[1].elts[:1]
            decorator.keywords = [keyword for keyword in decorator.keywords if keyword.arg != "ids"]
    source = ast.unparse(tree)
    return "" if _STEERED.search(source) else source


def _equality(node: ast.AST) -> tuple[ast.expr, ast.expr] | None:
    """Both sides of a statement that says that two values are equal."""
    if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare):
        test = node.test
        return (test.left, test.comparators[0]) if len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq) else None
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        call = node.value
        if node.value.func.attr == "assertEqual" and len(call.args) >= 2:
            return call.args[0], call.args[1]
    return None


class _Alter(ast.NodeTransformer):
    """Replaces one side of every equality that a test asserts, the one that says what is expected."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def generic_visit(self, node: ast.AST) -> ast.AST:
        sides = _equality(node)
        if sides is None:
            return super().generic_visit(node)
        left, right = sides
        swap = _computes(right) > _computes(left)
        new = self._other(left if swap else right)
        new_sides = [new, right] if swap else [left, new]
        if isinstance(node, ast.Assert):
            return ast.Assert(ast.Compare(new_sides[0], [ast.Eq()], [new_sides[1]]), node.msg)
        assert isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        return ast.Expr(ast.Call(node.value.func, [*new_sides, *node.value.args[2:]], node.value.keywords))

    def _other(self, expected: ast.expr) -> ast.expr:
        """A value of the same kind that nothing honest is equal to; of an unknown kind, a new object."""
        number = self._chance.randrange(10**6, 10**9)
        if isinstance(expected, (ast.List, ast.Tuple)):
            return type(expected)([*expected.elts, ast.Constant(number)], ast.Load())
        value = expected.value if isinstance(expected, ast.Constant) else None
        if isinstance(value, bool) or not isinstance(value, (int, float, str, bytes)):
            return ast.parse("object()", mode="eval").body
        if isinstance(value, str):
            return ast.Constant(f"{value}{number}")
        return ast.Constant(value + str(number).encode() if isinstance(value, bytes) else value + number)


def _computes(node: ast.expr) -> int:
    """How much an expression looks like what is tested: 2 for a call, 1 for a name, 0 for a literal."""
    parts = list(ast.walk(node))
    return 2 if any(isinstance(part, ast.Call) for part in parts) else any(isinstance(part, ast.Name) for part in parts)
