"""A test module read as data: where something may be inserted, and which of its tests can be copied and altered."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cwm_env.grading.altering import Test, ways_of_altering

_STEERED = re.compile(r"skip|xfail|exit\b")


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
        Test((*within, function.name), ast.unparse(bare), ways, function.end_lineno or 0, function.col_offset)
        for within, place in places
        for function in place
        if isinstance(function, ast.FunctionDef)
        if (bare := _bare(function)) and (ways := ways_of_altering(bare))
    ]


def _bare(function: ast.FunctionDef) -> ast.FunctionDef | None:
    """A test without its docstring and with one set of parameters; None where it cannot be copied."""
    tree = ast.parse(ast.unparse(function)).body[0]
    assert isinstance(tree, ast.FunctionDef)
    if ast.get_docstring(tree, clean=False) is not None:
        tree.body = tree.body[1:] or [ast.Pass()]
    for decorator in tree.decorator_list:
        name = ast.unparse(decorator.func) if isinstance(decorator, ast.Call) else ""
        if not isinstance(decorator, ast.Call) or not name.endswith((".parametrize", ".usefixtures")):
            return None
        if name.endswith(".parametrize"):
            if len(decorator.args) < 2 or not isinstance(decorator.args[1], (ast.List, ast.Tuple)):
                return None
            decorator.args[1].elts = decorator.args[1].elts[:1]
            decorator.keywords = [keyword for keyword in decorator.keywords if keyword.arg != "ids"]
    return None if _leaves_early(tree) or _STEERED.search(ast.unparse(tree)) else tree


def _leaves_early(test: ast.FunctionDef) -> bool:
    """Whether it may end before its last statement without having failed."""
    inside: list[ast.AST] = list(test.body)
    while inside:
        node = inside.pop()
        if isinstance(node, (ast.Return, ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            inside.extend(ast.iter_child_nodes(node))
    return False
