"""The part of Python in which a loop can be proved: a program of it is instrumented so that all its state can be seen.

What decides the future of such a program is its variables, what they refer to, and the iterators of its loops. Nothing
else may: no clock, no randomness, no input, no addresses, no hidden state in a library, a generator or a context
manager. Whatever is not listed here is not provable; it may still be seen to halt.
"""

from __future__ import annotations

import ast

TICK, ENTER, TEXT, MODULO = "_cwm_tick", "_cwm_enter", "_cwm_text", "_cwm_modulo"

_NODES = """
    Module FunctionDef ClassDef Return Delete Assign AugAssign AnnAssign For While If Raise Try Assert Import ImportFrom
    Global Nonlocal Expr Pass Break Continue ExceptHandler
    BoolOp NamedExpr BinOp UnaryOp Lambda IfExp Dict ListComp DictComp GeneratorExp Compare Call FormattedValue
    JoinedStr Constant Attribute Subscript Starred Name List Tuple Slice comprehension arguments arg keyword alias
    boolop operator unaryop cmpop expr_context
"""
_FOLLOWED = tuple(getattr(ast, name) for name in _NODES.split())
_BUILTINS_NOT_FOLLOWED = """
    __import__ breakpoint compile delattr dir eval exec format getattr globals hasattr hash help id input locals
    memoryview object open setattr vars copyright credits exit license quit set frozenset aiter anext
    BaseException SystemExit KeyboardInterrupt GeneratorExit MemoryError RecursionError
"""
_NOT_BUILTINS = frozenset(_BUILTINS_NOT_FOLLOWED.split())
_FOLLOWED_METHODS = """
    __init__ __repr__ __str__ __eq__ __ne__ __lt__ __le__ __gt__ __ge__ __add__ __sub__ __mul__ __len__ __bool__
    __getitem__ __setitem__ __contains__ __iter__ __next__ __call__ __neg__ __iadd__ __radd__ __rmul__
"""
_METHODS = frozenset(_FOLLOWED_METHODS.split())
_NOT_ATTRIBUTES = frozenset(("format", "format_map", "with_traceback", "add_note", "gi_frame", "cr_frame"))
_MAKE_TEXT = ("str", "repr", "ascii")
_FIXED = frozenset((*_MAKE_TEXT, "print", "iter", "math", "type"))


class NotProvable(Exception):
    """The program is outside of the subset; says what is, and on which line."""


def instrument(source: str) -> str:
    """The same program, with a call at the head of each loop's body and of each function's.

    Raises:
        NotProvable: the program is outside of the subset.
        SyntaxError: it is no program.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        _check(node)
    return ast.unparse(ast.fix_missing_locations(_Instrument().visit(tree)))


def _refuse(node: ast.AST, what: str) -> NotProvable:
    return NotProvable(f"line {getattr(node, 'lineno', 0)}: {what}")


def _check(node: ast.AST) -> None:
    if not isinstance(node, _FOLLOWED):
        raise _refuse(node, f"{type(node).__name__} is not followed")
    for name in _names_of(node):
        if name in _NOT_BUILTINS or name.startswith("_cwm") or (name.startswith("__") and name != "__name__"):
            raise _refuse(node, f"{name} is not followed")
    if isinstance(node, ast.Attribute) and (
        (node.attr.startswith("__") and node.attr != "__init__") or node.attr in _NOT_ATTRIBUTES
    ):
        raise _refuse(node, f"the attribute {node.attr} is not followed")
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del) and node.id in _FIXED:
        raise _refuse(node, f"a {node.id} of its own is not followed")
    if isinstance(node, ast.Call) and any(isinstance(arg, ast.Name) and arg.id in _MAKE_TEXT for arg in node.args):
        raise _refuse(node, "a function that makes text, passed on, is not followed")
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "type"
        and len(node.args) != 1
    ):
        raise _refuse(node, "a class made by type() is not followed")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr | ast.BitXor | ast.Sub):
        _check_views(node)
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Mod) and not isinstance(node.target, ast.Name):
        raise _refuse(node, "%= of anything but a name is not followed")
    if isinstance(node, ast.ExceptHandler) and node.type is None:
        raise _refuse(node, "a bare except is not followed")
    if isinstance(node, ast.Compare):
        _check_identity(node)
    if isinstance(node, ast.Import) and {alias.name for alias in node.names} != {"math"}:
        raise _refuse(node, "only math is followed")
    if isinstance(node, ast.ImportFrom) and (node.module != "math" or any(a.name == "*" for a in node.names)):
        raise _refuse(node, "only math is followed")
    if isinstance(node, ast.ClassDef):
        _check_class(node)
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete | ast.For):
        _check_targets(node)


def _names_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.FunctionDef):
        return [] if node.name in _METHODS else [node.name]
    return [alias.asname or "" for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []


def _check_identity(node: ast.Compare) -> None:
    """``is`` asks for addresses, except beside None, True and False."""
    sides = [node.left, *node.comparators]
    for i, operator in enumerate(node.ops):
        if isinstance(operator, ast.Is | ast.IsNot):
            pair = sides[i], sides[i + 1]
            if not any(isinstance(side, ast.Constant) and side.value in (None, True, False) for side in pair):
                raise _refuse(node, "`is` between objects is not followed")


def _check_call(node: ast.Call) -> None:
    if any(isinstance(arg, ast.Name) and arg.id in _MAKE_TEXT for arg in node.args):
        raise _refuse(node, "a function that makes text, passed on, is not followed")
    if isinstance(node.func, ast.Name) and node.func.id == "type" and len(node.args) != 1:
        raise _refuse(node, "a class made by type() is not followed")


def _check_views(node: ast.BinOp) -> None:
    """Operators on a dict's views make sets, whose order depends on their past."""
    for side in (node.left, node.right):
        if isinstance(side, ast.Call) and isinstance(side.func, ast.Attribute) and side.func.attr in ("keys", "items"):
            raise _refuse(node, "a set made of a dict's view is not followed")


def _check_class(node: ast.ClassDef) -> None:
    if node.keywords or node.decorator_list:
        raise _refuse(node, "a metaclass or a class decorator is not followed")
    for base in node.bases:
        if not isinstance(base, ast.Name):
            raise _refuse(node, "a base class that is an expression is not followed")


def _check_targets(node: ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete | ast.For) -> None:
    """Nothing may be stored on a module."""
    targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]
    for target in targets:
        for inner in ast.walk(target):
            if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == "math":
                raise _refuse(node, "storing on a module is not followed")


class _Instrument(ast.NodeTransformer):
    def __init__(self) -> None:
        self._loops = 0

    def _call(self, name: str, *args: ast.expr) -> ast.Call:
        return ast.Call(ast.Name(name, ast.Load()), list(args), [])

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.body.insert(0, ast.Expr(self._call(ENTER)))
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        self.generic_visit(node)
        self._head(node)
        return node

    def visit_For(self, node: ast.For) -> list[ast.stmt]:
        """The iterator gets a name, so that its place is part of what can be seen."""
        self.generic_visit(node)
        self._head(node)
        name = f"_cwm_it{self._loops}"
        made = ast.Assign([ast.Name(name, ast.Store())], self._call("_cwm_iter", node.iter))
        node.iter = ast.Name(name, ast.Load())
        return [made, node]

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        self.generic_visit(node)
        node.value = self._call(TEXT, node.value)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return self._call(MODULO, node.left, node.right) if isinstance(node.op, ast.Mod) else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Mod) or not isinstance(node.target, ast.Name):
            return node
        before = ast.Name(node.target.id, ast.Load())
        return ast.Assign([node.target], self._call(MODULO, before, node.value))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """``str(x)`` makes text; ``str`` alone is a type."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "str":
            node.func = ast.Name("_cwm_str", ast.Load())
        return node

    def _head(self, node: ast.While | ast.For) -> None:
        self._loops += 1
        tick = self._call(TICK, ast.Constant(self._loops), ast.Constant(node.lineno))
        node.body.insert(0, ast.Expr(tick))
