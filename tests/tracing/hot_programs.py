"""Random programs whose lines run often and change shared containers in every way. Each defines ``f()``.

What a line does not say is what they are after: objects that count in ``LOG`` whatever is done to them, containers that
go by several names, statements that share a line, built-in functions in whose place stand others.
"""

import random
from typing import Any

_LINES = (
    "i0 = {i} * 3 % 7", "i1 = i0 + len({l})", "i0 -= 1", "i0, i1 = i1, i0", "t0 = str(i0) + t0[:3]",
    "t0 = f'{{i0}}{{i1:>3}}'", "t0 = t0 if i0 > i1 else 'x'", "i1 = i0 or i1", "i1 = 0 <= i0 < 5",
    "{l}.append({v})", "{l}.pop()", "{l}.pop(0)", "{l}.pop({i})", "{l}[{i} % 3] = {v}", "{l}[-1] = {v}",
    "{l}[0] += 1", "{l} += [{v}]", "{l}.insert(1, {v})", "{l}.sort()", "{l}.extend({m})", "{l}.clear()",
    "{l} = [1, 2, {i}]", "{l} = {m}", "{l} = {l}[:4]", "{l} = list({m})", "{l}[1:2] = [{v}, {v}]",
    "{d}[{i}] = {v}", "{d}[{i} % 2] = {v}", "{d}[True] = {v}", "{d}['k'] = {i}", "{d}.pop({i}, None)",
    "{d}.setdefault({i}, {v})", "{d}.update({e})", "{d} = {e}", "{d} = {{}}", "i0 = {d}.get({i}, 0) or 0",
    "g[{i} % 2][{i} % 3] = {v}", "g[0] = {l}", "g[1].append({v})", "g.append([{i}])", "{l} = g[{i} % 2]",
    "h0 = g", "g = [[0] * 3, [1, 2, 3]]", "g = [{l}, {m}]", "g[-1][0] = {v}", "r, s = g[0], g[1]", "r[0] = {v}",
    "g[0], g[1] = g[1], g[0]", "b = [{l}, {d}, [{l}]]", "b = ({l}, {d})", "b = {d}.values()", "b = None",
    "b = D({l})", "b = iter({l})", "{l}[0] = b", "{l}.append({m})", "{d}['d'] = {e}", "i1 = {l}[0]",
    "i0 = {l}[{i} % 2] == {v}", "{l}.append(w := {i})", "i0 = sum(range({i} % 4))",
    "i1 = max(i0, {i}, 2)", "t0 += 'ab'", "i0 = isinstance({l}, list) + 1", "{d}[(1, {i})] = {v}",
    "i0 = {v} if {v} else 1", "i0, *q = {l}", "del {l}[0]", "{l}.remove({v})", "{l}.reverse()", "i1 = {l} == {m}",
    "t0 = ','.join('ab')", "i0 = not {l}", "i1 = -i0", "i0 = [1, {i}][1]", "t0 = '%s-%s' % (i0, {i})", "n = None",
    "n = {v}", "i1 = n is None", "i1 = divmod({i}, 3)[0]", "{l} = {l} * 1", "{l}.append(NotImplemented)",
    "x = yes({l})", "x = lambda: {l}", "{l}[1] = {l}[0]", "{d}[0] = {d}[1] = {i}", "{l}[0], {l}[1] = {v}, {v}",
    # Rows that are one list, or go by another name; and what is one of several containers.
    "g = [[0] * 3] * 2", "g[1] = g[0]", "g[0][{i} % 3] = {i}", "h0[{i} % 2][0] = {v}", "h0 = g; {l} = g[0]", "g.pop()",
    "{l} = g[0]; g[0].append({v}); g[0] = [{i}]", "({l} or 'x').append({v})", "({l} and {m}).append({v})",
    "({l} if {i} % 2 else {m}).append({v})", "({l} if i0 else g[0])[0] = {v}", "g[1 if {i} % 2 else 0].pop()",
    "i0 = {i} % 3; {l}[{i} % 3] = i0", "{l}[i0 := {i} % 2] = {v}", "{l}.append({v}); {l}.append({i})",
    # Objects whose every use can be seen.
    "ob = E()", "n = ob", "n = E()", "n = 5", "{l}.append(ob)", "{l}[0] = ob", "{d}['k'] = ob", "i0 = {l} == [{v}, 7]",
    "i0 = {m} < {l}", "i0 = {v} in {l}", "i0 = 7 in {d}.values()", "i0 = n == {v}", "i0 = not n", "i0 = n + 1",
    "t0 = str(n)", "i0 = len(n)", "{l}.sort(); i0 = {l}", "i0 = n if n else 1", "n, i0 = {i}, n",
    "{l}.append(ob); {m}[-1].touch()", "{l}.append({m}); ({l} or 'x')[-1].append({v})", "{d}.update(k=n)",
    "{l}.append(ob); i0 = {m} == [1, 2, 3, 7]", "t = [{l}]; {l}.append(ob); i0 = t == [[1, 2, 3, 7]]",
    "{l}.append(ob); {l}.remove(7)", "n = {l}; {l}.append(ob); i0 = n.count(7)", "{l}[0] = {m}; {m}[0].append({v})",
    "{l}[0] = {m}; {l}[0].append({v})", "{l}.append({m}); {l}[-1][0] = {v}", "i0 = ({l}.append(ob), {m}.index(7))",
    "{l}.append({m}); q = {l}.pop(); q.append({v})", "log = LOG", "i0 = sum({l}, 0)", "i0 = max({l})",
    # Others in the place of built-in functions, and what a generator's caller does.
    "shade('len', {l})", "shade('max', {m})", "shade('str', {l})", "unshade()", "i0 = len('ab') + max(1, 2)",
    "got = yield", "yield {l}", "got = yield {l}", "i0 = yield {v}", "{l}.append((yield))",
)  # fmt: skip
_ALONE = (
    "if {i} % 2: {l}.append({v})", "if {l}: {l}[0] = {v}", "for q in range(2): i1 += q", "for q in {l}: i1 = q",
    "for q in range({i} % 4): {l}.append(q)", "while i0 > 6: i0 //= 4", "i0 = (1 if {i} else\n{pad}2)",
    "{l}.append(\n{pad}{v},\n{pad})", "assert {l} is not None", "for q in range(3): g[0][q] = {i}",
    "for q in range(2): {l}.append(ob)", "for q in range(2): {l}.append(q); {m}.append(q)", "for q in n: i0 = q",
    "if n: i0 = 1", "while {l}: {l}.pop()", "if {i} % 2: n = 5", "for q in range(2): t0 = 'q'; {l}[-1] = q",
    "for q in range(3): i1 = {l} == {m}; {l}.append(ob)",
)  # fmt: skip
_FAILS = (
    "i0 = {l}[99]", "i1 = 1 // ({i} % 2)", "{l}[{i}] = {v}", "{d}[{i}].append(1)", "i0 = {d}['none']", "i0 = 1 + t0",
    "{l}.pop(99)", "r, s = {l}", "{l}.append({v}); i0 = 1 // 0", "i0 = g[{i}][0]",
)  # fmt: skip
_SCENES = (
    ("g = [[0] * 3] * 2", "g[0][{i} % 3] = {i}"),
    ("g = [[1], [2]]", "{l} = g[0]", "g[0].append({i}); g[0] = [{i}]"),
    ("g = [[1], [2]]; h0 = g", "{l} = h0[1]", "g[1][0] = {i}; h0.pop()"),
    ("{l}, t, ob = [1], None, E()", "t = [{l}]; {l}.append(ob); i0 = t == [[1, 7]]"),
    ("{l}, {m}, ob = [1], 'x', E()", "t = {l} if {i} % 2 else {m}; {l}.append(ob); i0 = t == [1, 7]"),
    ("{l} = [1, 2]", "{m} = {l}", "{l}[0] = {i}"),
    ("{l} = [1, 2]", "{m} = {l}", "{l}.append({i}); {l} = [{i}]"),
    ("g = [[1, 2], [3]]", "{l} = g[0]", "{l}[1] = {i}", "g[0][0] = {i}", "{l}.append({i})"),
    ("{l} = [0, 0]", "{l}[0] = {i}; {l}[1] = {i}"),
    ("{l} = [0, 0]; i0 = 0", "i0 = 1 - i0; {l}[i0] = {i} + 1"),
    ("{l}, {m} = [1], [2]", "({l} or 'x').append({i})", "({l} and {m}).append({i})"),
    ("{l}, {m} = [{i}], [2]", "{l}[0] = {m}; {l}[0].append({i})"),
    ("n = E()", "n = 5", "i0 = {i}"),
    ("n = E()", "t0, n = 'a', 5"),
    ("n = ob = E()", "i0 = 5 == n"),
    ("n = 5", "i0 = 5 == n"),
    ("try:", "    i0 = 1 // 0", "except Exception as error:", "    i0 = {i}", "t0 = 'a'"),
    ("try: n = {i}", "except Exception as error: n = 0", "else: n = 1", "finally: i0 = 5"),
    ("for q in range(2):", "    i0 = q", "    if q: {l} = [q]", "    {l}.append(q)"),
    ("unshade()", "shade('len', {l})", "i0 = len('ab')", "unshade()"),
    ("unshade()", "{l} = [1]", "i0 = max(1, 2)", "shade('max', {l})", "i0 = max(1, 2)"),
    ("{l} = {m} = [1]", "{l} += [{i}]", "i0 = 1"),
    ("{l} = {m} = [2, 1]", "{l}.sort()", "{l}.insert(0, {i})"),
    ("{d} = {e} = {{1: 0}}", "{d}[1] = {i}", "{e}.pop(1)", "{d}.update(a={i})"),
)
_CLEARED = "ob = b = n = t = h0 = x = q = 0; xs, ys, zs, r, s, d, e, g = [1], [2], [3], [4], [5], {}, {}, [[1], [2]]"
"""Before some scenes: where anything is held that nobody knows, containers are looked at more closely."""
_VALUES = ("i0", "i1", "{i}", "1", "True", "1.0", "'a'", "None", "t0", "-7", "2 ** 70", "'<|'", "'..'", "'\\\\'")
_NESTED = """\
try:
    {a}
    {b}
except Exception as {error}:
    {c}
    {d}
""".splitlines()
_HEAD = """\
from dataclasses import dataclass
LOG = [0]
@dataclass
class D:
    held: object
class E:
    def touch(self, *given):
        LOG[0] += 1
        return self.answer
    answer = 1
for _name in "eq lt add radd bool len contains del str".split():
    setattr(E, "__%%s__" %% _name, E.touch)
E.__hash__ = object.__hash__
E.__str__ = E.__repr__ = lambda self: str(self.touch())
E.__iter__ = lambda self: iter([self.touch()])
def yes(x):
    x.append(5)
    return x
def shade(name, seen):
    def other(*given):
        seen[:] = [LOG[0]]
        return 1
    globals()[name] = other
def unshade():
    for name in ("len", "max", "str"):
        globals().pop(name, None)
def f():
    LOG[0], ends = 0, [0, 1]
    for got in walk(ends):
        ends[0] = 7
        if type(got) is list:
            got.append(8)
    unshade()
    return ends, LOG
def walk(ends):
    xs, ys, zs, d, e, log, ob = [1, 2, 3], ['a'], [], {0: 1}, {'k': 'v', 1: 2}, LOG, E()
    g, i0, i1, t0, b, n, r, h0 = [[1, 2, 3], [4, 5, 6]], 0, 1, 'abc', None, 0, [1], 0
    %s
    for i in range(%d):
"""


def program(seed: int) -> str:
    """A program that ends, however its lines fail."""
    pick = random.Random(seed)

    def names() -> Any:
        pair, tables = pick.sample(["xs", "ys", "zs"], 2), pick.sample(["d", "e"], 2)
        i = pick.choice(["i", "i", "i0", "3"])
        return {"i": i, "l": pair[0], "m": pair[1], "d": tables[0], "e": tables[1], "pad": " " * 16}

    def filled(kinds: Any) -> str:
        given = names()
        return str(pick.choice(kinds).format(v=pick.choice(_VALUES).format(**given), **given))

    lines = []
    for _ in range(pick.randrange(8, 14)):
        chance = pick.random()
        if chance < 0.3:
            given = names()
            inner = [_CLEARED] * pick.randrange(2) + [line.format(**given) for line in pick.choice(_SCENES)]
        elif chance < 0.45:
            parts = {part: filled(pick.choice((_LINES, _FAILS))) for part in "abcd"}
            parts["error"] = pick.choice(["error", "n", "i1"])
            inner = [line.format(**parts) for line in _NESTED]
        elif chance < 0.55:
            inner = [filled(_ALONE)]
        else:
            inner = ["; ".join(filled(_LINES) for _ in range(pick.choice([1, 1, 2, 3])))]
        lines += ["        try:", *("            " + line for line in inner)]
        lines += [f"        except Exception{pick.choice(['', ' as error'])}:", "            pass"]
    aliases = pick.choice(["pass", "zs = xs", "xs = g[0]", "e = d", "b = [xs, d]", "h0 = g; ys = g[1]", "b = D(xs)"])
    aliases += pick.choice(["", "; g[1] = g[0]", "; zs = xs; n = ob", "; ys = zs", "; zs = LOG"])
    return _HEAD % (aliases, pick.randrange(4, 6)) + "\n".join(lines) + "\n"
