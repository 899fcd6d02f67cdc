"""Random programs of every construct that a tracer meets, for any Python since 3.6. Each defines ``f()``."""

import random
from typing import Any, List

_VALUES = (
    "0",
    "1",
    "-7",
    "'a'",
    "'b\\n'",
    "1.5",
    "None",
    "True",
    "[]",
    "{}",
    "()",
    "b'x'",
    "2**70",
    "'..'",
    "'<|frame_sep|>'",
)
_KEYS = ("'k'", "1", "'..'", "None", "(1, 2)")


class Writer:
    """Writes one program, line by line."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines: List[str] = []
        self.depth = 0

    def put(self, indent: int, text: str) -> None:
        self.lines.append("    " * indent + text)

    def name(self) -> str:
        return self.random.choice("abcde")

    def value(self, depth: int = 2) -> str:
        kind = self.random.randrange(9 if depth else 3)
        if kind < 3:
            return self.random.choice(_VALUES)
        if kind < 5:
            return self.name()
        inner = [self.value(depth - 1) for _ in range(self.random.randrange(4))]
        if kind == 5:
            return "[" + ", ".join(inner) + "]"
        if kind == 6:
            return "(" + "".join(part + ", " for part in inner) + ")"
        if kind == 7:
            return "{" + ", ".join("%s: %s" % (self.random.choice(_KEYS), part) for part in inner) + "}"
        return "[%s for v in range(%d)]" % (
            self.random.choice(("v", "[v]", "(v, 1)", "str(v)")),
            self.random.randrange(4),
        )

    def block(self, indent: int, size: int, loops: int = 0) -> None:
        for _ in range(size):
            self.statement(indent, loops)

    def statement(self, indent: int, loops: int) -> None:
        pick: Any = self.random.choice
        plain = [
            self._assign,
            self._assign,
            self._mutate,
            self._mutate,
            self._delete,
            self._nothing,
            self._call,
            self._unpack,
        ]
        nested = [self._if, self._try, self._for, self._while, self._with] if indent < 4 else []
        pick(plain + nested)(indent, loops)

    def _assign(self, indent: int, loops: int) -> None:
        self.put(indent, "%s = %s" % (self.name(), self.value()))

    def _mutate(self, indent: int, loops: int) -> None:
        n, v, w = self.name(), self.value(1), self.name()
        self.put(indent, self.random.choice((
            "%s.append(%s)" % (n, v), "%s[0] = %s" % (n, v), "%s['k'] = %s" % (n, v), "%s += %s" % (n, v),
            "%s.pop()" % n, "%s[0].append(%s)" % (n, v), "%s.clear()" % n, "%s.update({1: %s})" % (n, v),
            "%s = %s" % (n, w), "%s.insert(0, %s)" % (n, v), "%s[0][0] = %s" % (n, v), "%s.append(%s)" % (n, n),
        )))  # fmt: skip

    def _delete(self, indent: int, loops: int) -> None:
        self.put(indent, "del " + self.name())

    def _nothing(self, indent: int, loops: int) -> None:
        self.put(indent, "pass")

    def _call(self, indent: int, loops: int) -> None:
        n, v = self.name(), self.value(1)
        self.put(indent, self.random.choice((
            "%s = h(%s)" % (n, v), "%s = list(gen(%s))" % (n, v), "%s = rec(3, %s)" % (n, v), "%s = C(%s)" % (n, v),
            "%s = C(%s).twice()" % (n, v), "%s = sorted([3, 1, 2], key=lambda q: -q)" % n, "bump()",
            "%s = next(gen([%s]))" % (n, v), "%s = D(%s)" % (n, v), "%s = {q: q for q in range(3)}" % n,
            "%s = sum(q for q in range(3))" % n, "%s = eval('1 + 1')" % n, "exec('z = 1')", "%s = It()" % n,
            "%s = drive(%s)" % (n, v), "%s = deco(%s)" % (n, v),
        )))  # fmt: skip

    def _unpack(self, indent: int, loops: int) -> None:
        self.put(indent, "%s, %s = %s, %s" % (self.name(), self.name(), self.value(1), self.value(1)))

    def _if(self, indent: int, loops: int) -> None:
        self.put(indent, "if %s:" % self.name())
        self.block(indent + 1, self.random.randrange(1, 3), loops)
        if self.random.random() < 0.5:
            self.put(indent, "else:")
            self.block(indent + 1, 1, loops)

    def _try(self, indent: int, loops: int) -> None:
        self.put(indent, "try:")
        self.block(indent + 1, self.random.randrange(1, 4), loops)
        self.put(indent, self.random.choice(("except Exception:", "except Exception as error:", "finally:")))
        self.block(indent + 1, 1, loops)

    def _for(self, indent: int, loops: int) -> None:
        things = self.random.choice(("range(3)", "[1, [2], 'x']", "gen([1, 2])", "It()", "{'k': 1, 2: 3}"))
        self.put(indent, "for %s in %s:" % (self.name(), things))
        self.block(indent + 1, self.random.randrange(1, 3), loops + 1)
        if self.random.random() < 0.2:
            self.put(indent + 1, self.random.choice(("break", "continue")))

    def _while(self, indent: int, loops: int) -> None:
        self.depth += 1
        counter = "w%d" % self.depth
        self.put(indent, "%s = %d" % (counter, self.random.randrange(3)))
        if self.random.random() < 0.3:
            self.put(indent, "while %s: %s -= 1" % (counter, counter))
            return
        self.put(indent, "while %s:" % counter)
        self.put(indent + 1, "%s -= 1" % counter)
        self.block(indent + 1, self.random.randrange(1, 3), loops + 1)

    def _with(self, indent: int, loops: int) -> None:
        self.put(indent, "with Manager(%s):" % self.random.choice(("True", "False")))
        self.block(indent + 1, self.random.randrange(1, 3), loops)


_HELPERS = """\
import functools
count = [0]
def h(x):
    y = [x]
    y.append(1)
    return y
def gen(xs):
    for x in xs if isinstance(xs, list) else [1, 2]:
        got = yield x
def rec(n, x):
    if n:
        return rec(n - 1, [x])
    return x
def closure():
    held = 0
    def bump():
        nonlocal held
        held += 1
        return held
    return bump
bump = closure()
class C:
    tag = 1
    def __init__(self, x):
        self.x = x
    def twice(self):
        return self.x * 2
class D(C):
    __slots__ = ()
    def __repr__(self):
        count[0] += 1
        raise ValueError(count)
class It:
    def __init__(self):
        self.n = 2
    def __iter__(self):
        return self
    def __next__(self):
        self.n -= 1
        if self.n < 0:
            raise StopIteration
        return self.n
class Manager:
    def __init__(self, swallow):
        self.swallow = swallow
    def __enter__(self):
        return 1
    def __exit__(self, *args):
        return self.swallow
async def co(x):
    await later(x)
    return x
async def later(x):
    return [x]
def drive(x):
    c = co(x)
    try:
        c.send(None)
    except StopIteration as stop:
        return stop.value
def wrap(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)
    return inner
@wrap
def deco(x, *, key=1):
    class Local:
        y = x
        z = [y]
    return Local.z
"""


def program(seed: int) -> str:
    """A program that ends: loops are bounded, and what it raises is its own affair."""
    writer = Writer(seed)
    writer.put(0, "def f():")
    for name in "abcde":
        if writer.random.random() < 0.7:
            writer.put(1, "%s = %s" % (name, writer.random.choice(_VALUES)))
    for _ in range(writer.random.randrange(3, 9)):
        if writer.random.random() < 0.6:
            writer.put(1, "try:")
            writer.block(2, writer.random.randrange(1, 5))
            writer.put(1, "except Exception as error:")
            writer.put(2, "pass")
        else:
            writer.block(1, 1)
    writer.put(1, "return %s" % writer.value(1))
    return _HELPERS + "\n".join(writer.lines) + "\n"
