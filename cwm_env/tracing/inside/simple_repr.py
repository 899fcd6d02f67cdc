"""A ``__repr__`` that is one returned format of plain attributes, worked out from its source instead of being called.

Most classes write ``return f"Point({self.x}, {self.y!r})"``, or the same with ``%`` or ``.format``. Such an
expression is evaluated here over attributes that can be read without running code; anything else is refused.
"""

import ast
import inspect
import linecache
import textwrap
from typing import Any, Dict, List, Optional

from cwm_env.tracing.inside import types_of as of

_known: Dict[Any, Optional[ast.AST]] = {}
_FORMATTED = (int, str, float, bool, type(None))


class _Refused(Exception):
    """The expression could run code of the program's."""


def evaluate(renderer: Any, value: Any, function: Any, depth: int) -> Optional[str]:
    """The text that ``function`` (a ``__repr__``) would return for ``value``, or None if that cannot be known."""
    code = function.__code__
    if id(code) not in _known:
        if len(_known) > 5000:
            _known.clear()
        _known[id(code)] = _expression(code)
    expression = _known[id(code)]
    if expression is None or depth <= 0 or id(value) in renderer._open:
        return None
    renderer._open.add(id(value))
    try:
        return _Evaluation(renderer, value, code.co_varnames[0], depth - 1).text(expression)
    except (_Refused, LookupError, ValueError, TypeError, IndexError):
        return None
    finally:
        renderer._open.discard(id(value))


def _expression(code: Any) -> Optional[ast.AST]:
    """The one expression that a function returns."""
    lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
    if code.co_argcount != 1 or not lines:
        return None
    try:
        tree = ast.parse(textwrap.dedent("".join(inspect.getblock(lines))))
    except Exception:
        return None
    function = tree.body[0]
    if not isinstance(function, ast.FunctionDef) or function.decorator_list:
        return None
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[0].value if len(body) == 1 and isinstance(body[0], ast.Return) else None


class _Evaluation:
    def __init__(self, renderer: Any, value: Any, name: str, depth: int) -> None:
        self.renderer, self.value, self.name, self.depth = renderer, value, name, depth

    def text(self, node: Any) -> str:
        found = self.of(node)
        if type(found) is not str:
            raise _Refused
        return found

    def of(self, node: Any) -> Any:
        method = getattr(self, "on_" + type(node).__name__.lower(), None)
        if method is None:
            raise _Refused
        return method(node)

    def on_constant(self, node: Any) -> Any:
        return node.value

    def on_str(self, node: Any) -> Any:  # Python 3.6 and 3.7
        return node.s

    def on_joinedstr(self, node: Any) -> str:
        return "".join([self.text(part) for part in node.values])

    def on_formattedvalue(self, node: Any) -> str:
        spec = self.text(node.format_spec) if node.format_spec else ""
        value = self.of(node.value)
        if node.conversion == ord("r"):
            return format(self.renderer.render(value, self.depth), spec)
        return format(_harmless(value), spec)

    def on_attribute(self, node: Any) -> Any:
        if node.attr in ("__name__", "__qualname__"):
            kind = self.of(node.value)
            if type(kind) is not type:
                raise _Refused
            return of.qualified_name(kind) if node.attr == "__qualname__" else kind.__name__
        if not isinstance(node.value, ast.Name) or node.value.id != self.name:
            raise _Refused
        if node.attr == "__class__":
            return type(self.value)
        if of.find(type(self.value), "__getattribute__")[0] is not object:
            raise _Refused
        return of.attribute(self.value, node.attr)

    def on_call(self, node: Any) -> Any:
        if node.keywords:
            raise _Refused
        if isinstance(node.func, ast.Name):
            return self._builtin(node)
        if not isinstance(node.func, ast.Attribute) or node.func.attr != "format":
            raise _Refused
        template = self.text(node.func.value)
        if any(part in template for part in (".", "[")) and "{" in template.replace("{}", "").replace("{!r}", ""):
            raise _Refused  # "{0.x}" reads attributes
        return template.format(*[_Shown(self, self.of(arg)) for arg in node.args])

    def _builtin(self, node: Any) -> Any:
        names = {"type": 1, "repr": 1, "str": 1}
        if node.func.id not in names or len(node.args) != 1:
            raise _Refused
        if node.func.id == "type":
            if not isinstance(node.args[0], ast.Name) or node.args[0].id != self.name:
                raise _Refused
            return type(self.value)
        value = self.of(node.args[0])
        return self.renderer.render(value, self.depth) if node.func.id == "repr" else str(_harmless(value))

    def on_binop(self, node: Any) -> Any:
        left = self.text(node.left)
        if isinstance(node.op, ast.Add):
            return left + self.text(node.right)
        if not isinstance(node.op, ast.Mod):
            raise _Refused
        parts = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
        values: List[Any] = [self.of(part) for part in parts]
        if len(values) == 1 and type(values[0]) is tuple:
            raise _Refused
        return left % tuple(_Shown(self, v) if type(v) not in (int, float, bool) else v for v in values)


class _Shown:
    """Stands for a value in ``%`` and ``format``: ``%r`` renders it, ``%s`` only what is harmless."""

    def __init__(self, evaluation: _Evaluation, value: Any) -> None:
        self._evaluation, self._value = evaluation, value

    def __repr__(self) -> str:
        return str(self._evaluation.renderer.render(self._value, self._evaluation.depth))

    def __str__(self) -> str:
        return str(_harmless(self._value))

    def __format__(self, spec: str) -> str:
        return format(_harmless(self._value), spec)


def _harmless(value: Any) -> Any:
    if type(value) not in _FORMATTED:
        raise _Refused
    return value
