"""The source context that an episode's frames need: the functions that they run in, and what those refer to."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from cwm_env.tracing.context import MARKER
from cwm_env.tracing.rawlog import CodeObject, SourceFile

_LONGEST_CONSTANT = 8


def gather(codes: Iterable[CodeObject], entry: CodeObject) -> str:
    """Source text that holds every function of ``codes``, the entry's ``def`` line marked.

    Of each file it keeps those functions whole, the header and the plain attributes of their classes, and the imports
    and short constants that they name; the rest is left out. Files are told apart by a comment with their path.
    """
    by_file: dict[str, list[CodeObject]] = {}
    for code in codes:
        by_file.setdefault(code.file.path, []).append(code)
    paths = sorted(by_file, key=lambda path: (path != entry.file.path, path))
    parts = []
    for path in paths:
        file = by_file[path][0].file
        marked = entry.line if path == entry.file.path else 0
        text = "".join(_lines(file, {code.line for code in by_file[path]}, marked))
        parts.append(text if len(paths) == 1 else f"# {path}\n{text}")
    return "\n".join(parts)


def _lines(file: SourceFile, wanted: set[int], marked: int) -> Iterator[str]:
    for number in sorted(_kept(file, wanted)):
        line = file.line(number)
        if number == marked:
            yield line.rstrip("\n") + MARKER + "\n"
        else:
            yield line if line.endswith("\n") else line + "\n"


def _kept(file: SourceFile, wanted: set[int]) -> set[int]:
    """The lines of a file that are kept."""
    try:
        tree = ast.parse(file.text)
    except (SyntaxError, ValueError, RecursionError):
        return set(range(1, len(file.lines) + 1))
    kept: set[int] = set()
    names: set[str] = set()
    for node in tree.body:
        if any(_first(node) <= line <= (node.end_lineno or 0) for line in wanted):
            _keep(node, wanted, kept, names)
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign) and _binds(node) & names:
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            if isinstance(node, ast.Import | ast.ImportFrom) or len(lines) <= _LONGEST_CONSTANT:
                kept.update(lines)
    return kept


def _keep(node: ast.stmt, wanted: set[int], kept: set[int], names: set[str]) -> None:
    """Keep a statement; of a class, its header, its short attributes and the wanted methods."""
    first, last = _first(node), node.end_lineno or node.lineno
    if not isinstance(node, ast.ClassDef) or node.lineno in wanted:
        kept.update(range(first, last + 1))
        names.update(_names(node))
        return
    kept.update(range(first, node.body[0].lineno if node.body[0].lineno == node.lineno else _first(node.body[0])))
    for part in (*node.decorator_list, *node.bases):
        names.update(_names(part))
    for inner in node.body:
        within = any(_first(inner) <= line <= (inner.end_lineno or 0) for line in wanted)
        if within:
            _keep(inner, wanted, kept, names)
        elif isinstance(inner, ast.Assign | ast.AnnAssign):
            lines = range(inner.lineno, (inner.end_lineno or inner.lineno) + 1)
            if len(lines) <= _LONGEST_CONSTANT:
                kept.update(lines)
                names.update(_names(inner))


def _first(node: ast.stmt) -> int:
    """Where a statement begins, its decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min(node.lineno, *(decorator.lineno for decorator in decorators), node.lineno)


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _binds(node: ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign) -> set[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return set().union(*(_names(target) for target in targets))
