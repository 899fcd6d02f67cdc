"""Copies of a hidden test that nothing honest passes: one thing that it asserts is asserted of another value.

All else runs as in the test itself: the code under test, and the helpers that compare, wherever they come from. What is
altered fails whatever the code returns, so also the second time that it is called in one process.
"""

from __future__ import annotations

import ast
import random
import re
import textwrap
from dataclasses import dataclass

_KIND = "almost|array|dict|extension|frame|index|list|sequence|series|set|str|tuple"
_HELPER = re.compile(rf"assert_((?:{_KIND})_)*(equals?|identical|allclose)")
_OF_ARRAYS = re.compile("array|almost|close")
_METHOD = re.compile(
    r"assert(Almost|Count|Dict|HTML|JSON|List|MultiLine|Query[Ss]et|Sequence|Set|Tuple|URL|XML)?Equals?"
)
_RAISES = re.compile(r"raises|assertRaises(Regex|Message)?")
_SWALLOWS = re.compile(r"(?i)catch(?!_warnings)|expect|fail|ignor|raises|suppress")  # contexts that may end a failure
_ENDS_THE_RUN = re.compile(r"Base|Exit|Keyboard|Skip")  # exceptions that a runner does not take for a failed test
_ANY = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Test:
    """A test of which a copy can be made that must fail."""

    __test__ = False  # not one of ours, whatever pytest thinks of its name

    path: tuple[str, ...]
    """The name of its class, if it has one, and its own."""
    source: str
    """Without its docstring, at the left margin."""
    ways: int
    """Of making a copy that must fail."""
    last_line: int
    indentation: int
    """Columns; more than none for a method."""

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path[-1]


def ways_of_altering(test: ast.FunctionDef) -> int:
    """How many copies can be made of it, each with another alteration."""
    return len(_altered(test.body, _ANY))


def altered(test: Test, way: int, name: str, chance: random.Random) -> str:
    """A test under another name, in which one thing that it asserts is not so; ``way`` counts from 0."""
    copy = ast.parse(test.source).body[0]
    assert isinstance(copy, ast.FunctionDef)
    copy.name, copy.body = name, _altered(copy.body, chance)[way]
    return textwrap.indent(ast.unparse(ast.fix_missing_locations(copy)), " " * test.indentation)


def _altered(body: list[ast.stmt], chance: random.Random) -> list[list[ast.stmt]]:
    """What may stand for these statements: one of them, which always runs unless the test fails before, is altered.

    Nothing after it looks as if it tidied up: the copy fails there, and what it left might make other tests fail.
    """
    found: list[list[ast.stmt]] = []
    for index in reversed(range(len(body))):
        statement = body[index]
        found += [[*body[:index], new, *body[index + 1 :]] for new in _changed(statement, chance)]
        if _may_tidy_up(statement):
            break
    return found


def _may_tidy_up(node: ast.AST) -> bool:
    match node:
        case ast.Delete():
            return True
        case ast.Expr(value=ast.Call() as call):
            return not _name(call).startswith(("assert", "raises"))
        case ast.With(items=items) if any(_unexpected(item.context_expr) for item in items):
            return False
    inside = ast.iter_child_nodes(node)
    return any(_may_tidy_up(child) for child in inside if isinstance(child, (ast.stmt, ast.excepthandler)))


def _changed(node: ast.stmt, chance: random.Random) -> list[ast.stmt]:
    """What may stand for a statement that asserts something; nothing for one that does not, or not as we know it."""
    match node:
        case ast.Assert(test=test, msg=message):
            return [ast.Assert(_false(test, chance), message)]
        case ast.Expr(value=ast.Call() as call):
            new = _unequal(call, chance) or _unfulfilled(call, chance) or _unexpected(call)
            return [ast.Expr(new)] if new else []
        case ast.With(items=items, body=body):
            new_items = [_unexpected(item.context_expr) for item in items]
            if any(new_items):
                pairs = zip(items, new_items, strict=True)
                other = [ast.withitem(new or old.context_expr, old.optional_vars) for old, new in pairs]
                return [ast.With(other, body), ast.With(items, [ast.Pass()])]  # in the second, nothing is raised
            if not any(_SWALLOWS.search(ast.unparse(item.context_expr)) for item in items):
                return [ast.With(items, new_body) for new_body in _altered(body, chance)]
        case ast.Try(body=body, handlers=[], orelse=more, finalbody=last):
            return [ast.Try(new_body, [], more, last) for new_body in _altered(body, chance)]
    return []


def _false(test: ast.expr, chance: random.Random) -> ast.expr:
    match test:
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            if _says_what_is_expected(left, right):
                return ast.Compare(_other(left, chance), [ast.Eq()], [right])
            return ast.Compare(left, [ast.Eq()], [_other(right, chance)])
        case ast.Compare(left=left, ops=[ast.Is()]):
            return ast.Compare(left, [ast.Is()], [_expression("object()")])
    return ast.Compare(test, [ast.Eq()], [ast.Constant(_number(chance))])


def _unequal(call: ast.Call, chance: random.Random) -> ast.Call | None:
    """The call of a helper or method that compares two values, with another one."""
    name, arguments = _name(call), list(call.args)
    helper = _HELPER.fullmatch(name)
    if not (helper or _METHOD.fullmatch(name)) or len(arguments) < 2 or _starred(call):
        return None
    which = 0 if _says_what_is_expected(*arguments[:2]) else 1
    other = _other(arguments[which], chance)
    # To helpers for arrays, an empty one equals any value. Others are given what looks like what they expect.
    if (
        helper
        and not isinstance(other, (ast.List, ast.Tuple))
        and (_OF_ARRAYS.search(name) or not isinstance(other, ast.Constant))
    ):
        other = ast.List([other], ast.Load())
    arguments[which] = other
    return ast.Call(call.func, arguments, call.keywords)


def _unfulfilled(call: ast.Call, chance: random.Random) -> ast.Call | None:
    """The call of another method of unittest, with something that is not so."""
    first, second, *_ = [*call.args, None, None]
    if first is None or _starred(call):
        return None
    match _name(call):
        case "assertTrue":
            new: list[ast.expr] = [ast.Compare(first, [ast.Eq()], [ast.Constant(_number(chance))]), *call.args[1:]]
        case "assertIsNone":
            new = [ast.List([first], ast.Load()), *call.args[1:]]
        case "assertIs" if second:
            new = [first, _expression("object()"), *call.args[2:]]
        case "assertIn" if second:  # not of something else in the same place: looking for it there might never end
            new = [first, ast.List([], ast.Load()), *call.args[2:]]
        case _:
            return None
    return ast.Call(call.func, new, call.keywords)


def _unexpected(call: ast.expr) -> ast.Call | None:
    """The call that expects an exception, with one that nobody raises."""
    if not (isinstance(call, ast.Call) and call.args and _RAISES.fullmatch(_name(call))):
        return None
    if _starred(call) or _ENDS_THE_RUN.search(ast.unparse(call.args[0])):
        return None
    return ast.Call(call.func, [_expression('type("Error", (Exception,), {})'), *call.args[1:]], call.keywords)


def _says_what_is_expected(left: ast.expr, right: ast.expr) -> bool:
    """Whether it is the left side that does; in most tests it is the right."""
    return _computes(right) > _computes(left)


def _computes(node: ast.expr) -> int:
    """How much an expression looks like what is tested: 2 for a call, 1 for a name, 0 for a literal."""
    parts = list(ast.walk(node))
    return 2 if any(isinstance(part, ast.Call) for part in parts) else any(isinstance(part, ast.Name) for part in parts)


def _other(expected: ast.expr, chance: random.Random) -> ast.expr:
    """A value of the same kind that nothing honest is equal to; of an unknown kind, a new object.

    It looks like any other, and is far enough from what is expected for every tolerance.
    """
    few = chance.randrange(2, 99)
    match expected:
        case ast.List(elts=values) | ast.Tuple(elts=values):
            return type(expected)([*values, ast.Constant(few)], ast.Load())
        case ast.Set(elts=values):
            return ast.Set([*values, ast.Constant(_number(chance))])
        case ast.Dict(keys=keys, values=values):
            return ast.Dict([*keys, ast.Constant(_number(chance))], [*values, ast.Constant(few)])
        case ast.Constant(value=str(text)):
            return ast.Constant(f"{text}{few}")
        case ast.Constant(value=bytes(data)):
            return ast.Constant(b"%s%d" % (data, few))
        case ast.Constant(value=bool()):
            return _expression("object()")
        case ast.Constant(value=int() | float() as number):
            return ast.Constant(number + (abs(number) + 1) * few)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return ast.Constant((number + 1) * few)
    return _expression("object()")


def _number(chance: random.Random) -> int:
    return chance.randrange(10**6, 10**9)


def _starred(call: ast.Call) -> bool:
    return any(isinstance(argument, ast.Starred) for argument in call.args)


def _name(call: ast.Call) -> str:
    """The last part of the name of what is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body
