"""Random programs whose lines run often and change shared containers in every way. Each defines ``f()``."""

import random

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
    "i0 = {l}[{i} % 2] == {v}", "if {i} % 2: {l}.append({v})", "if {l}: {l}[0] = {v}", "for q in range(2): i1 += q",
    "for q in {l}: i1 = q", "for q in range({i}): {l}.append(q)", "{l}.append(w := {i})", "i0 = sum(range({i}))",
    "i1 = max(i0, {i}, 2)", "t0 += 'ab'", "i0 = isinstance({l}, list) + 1", "i0 = (1 if {i} else\n{pad}2)",
    "{l}.append(\n{pad}{v},\n{pad})", "assert {l} is not None", "{d}[(1, {i})] = {v}", "i0 = {v} if {v} else 1",
    "i0, *q = {l}", "del {l}[0]", "{l}.remove({v})", "{l}.reverse()", "i1 = {l} == {m}", "t0 = ','.join('ab')",
    "i0 = not {l}", "i1 = -i0", "i0 = [1, {i}][1]", "t0 = '%s-%s' % (i0, {i})", "n = None", "n = {v}", "i1 = n is None",
    "while i0 > 6: i0 -= 4", "i1 = divmod({i}, 3)[0]", "{l} = {l} * 1", "{l}.append(NotImplemented)", "x = yes({l})",
    "x = lambda: {l}", "{l}[1] = {l}[0]", "{d}[0] = {d}[1] = {i}", "{l}[0], {l}[1] = {v}, {v}",
)  # fmt: skip
_SIMPLE = tuple(line for line in _LINES if "\n" not in line and not line.startswith(("if ", "for ", "while ")))
_VALUES = ("i0", "i1", "{i}", "1", "True", "1.0", "'a'", "None", "t0", "-7", "2 ** 70", "'<|'", "'..'", "'\\\\'")
_HEAD = """\
from dataclasses import dataclass
@dataclass
class D:
    held: object
def yes(x):
    x.append(5)
    return x
class M:
    seen = []
    def touched(self, *others):
        M.seen.append(len(M.seen))
        return True
    __eq__ = __lt__ = __bool__ = __len__ = touched
    def __del__(self):
        self.touched()
    def __hash__(self):
        return self.touched() + 1
    def __iter__(self):
        self.touched()
        return iter((self,) * self.touched())
def f():
    xs, ys, zs, d, e = [1, 2, 3], ['a'], [], {0: 1}, {'k': 'v', 1: 2}
    g, i0, i1, t0, b, n = [[1, 2, 3], [4, 5, 6]], 0, 1, 'abc', None, 0
    %s
    for i in range(%d):
"""


def program(seed: int) -> str:
    """A program that ends, however its lines fail."""
    pick = random.Random(seed)
    lines = []
    for _ in range(pick.randrange(6, 16)):
        pair, tables = pick.sample(["xs", "ys", "zs"], 2), pick.sample(["d", "e"], 2)
        names = {"i": pick.choice(["i", "i", "i0", "3"]), "l": pair[0], "m": pair[1], "d": tables[0], "e": tables[1]}
        value = pick.choice(_VALUES).format(**names)
        alone = pick.random() < 0.2
        # More than one on a line: what the first of them leaves is there for the next, or when that one raises.
        parts = pick.choices(_SIMPLE, k=pick.choice((0, 0, 1, 2)))
        parts.append(pick.choice(_LINES if not parts else _SIMPLE))
        text = "; ".join(part.format(v=value, pad=" " * 16, **names) for part in parts)
        lines += ["        " + text] if alone else ["        try:", "            " + text]
        if not alone:
            lines += [f"        except Exception{pick.choice(['', ' as error'])}:", "            pass"]
    aliases = pick.choice(
        [
            "pass",
            "zs = xs",
            "xs = g[0]",
            "e = d",
            "b = [xs, d]",
            "h0 = g; ys = g[1]",
            "b = D(xs)",
            "zs = M.seen",
            "ys = M.seen",
        ]
    )
    return _HEAD % (aliases, pick.randrange(3, 8)) + "\n".join(lines) + "\n    return xs, ys, zs, d, e, g\n"
