"""Termination: not one wrong label, on programs whose answer is known, and on traps."""

from __future__ import annotations

import random
from itertools import islice
from math import gcd

import pytest

from cwm_env.tracing import Place
from cwm_env.tracing.halting import label
from cwm_env.tracing.halting_programs import candidates, generate


def modular(chance: random.Random) -> tuple[str, bool]:
    """``x = (x + step) % m`` until ``goal``: it halts if and only if the goal lies on the orbit."""
    m, step, start, goal = chance.randint(2, 80), chance.randint(0, 30), chance.randint(0, 100), chance.randint(0, 100)
    source = f"def f(x):\n    while x != {goal}:\n        x = (x + {step}) % {m}\n    return x\nf({start})\n"
    return source, start == goal or (goal < m and (goal - start) % gcd(step, m) == 0)


def graph(chance: random.Random) -> tuple[str, bool]:
    """Links that are followed until one leads nowhere: it halts if and only if no cycle is reached."""
    links = [chance.randrange(-1, 12) for _ in range(12)]
    at, seen = 0, set()
    while at >= 0 and at not in seen:
        seen.add(at)
        at = links[at]
    source = f"links = {links}\nat = 0\nwhile at >= 0:\n    for step in range(1):\n        at = links[at]\n"
    return source, at < 0


def counters(chance: random.Random) -> tuple[str, bool]:
    """Two counters in a list; the inner loop ends always, the outer one if the sum grows."""
    k, grow = chance.randint(1, 5), chance.choice((0, 1, 2))
    source = (
        f"box = [0, 0]\ndef bump():\n    box[1] = 0\n    for i in [0] * {k}:\n        box[1] += {grow}\n"
        f"    box[0] = (box[0] + box[1]) if box[1] else 0\nwhile box[0] < 20:\n    bump()\n"
    )
    return source, grow > 0


@pytest.mark.parametrize("family", [modular, graph, counters])
def test_not_one_label_is_wrong_where_the_answer_is_known(family: object) -> None:
    chance = random.Random(7)
    decided = 0
    for _ in range(400):
        source, halts = family(chance)  # type: ignore[operator]
        found = label(source, in_process=True)
        assert found.label in ("unknown", "halts" if halts else "loops"), source
        decided += found.label != "unknown"
    assert decided == 400


HALTING_TRAPS = {
    "a hidden place in a list": "for x in [0] * 9:\n    pass\n",
    "equal values, another place": "for x in (1, 1, 1):\n    for y in 'aaa':\n        z = 0\n",
    "an iterator by hand": "it = iter([1, 1, 1])\nwhile next(it, None) is not None:\n    pass\n",
    "a map with a past": "n = [0]\ndef f(x):\n    n[0] += 1\n    return 1\nfor x in map(f, [1] * 5):\n    pass\n",
    "zip and enumerate": "for i, (a, b) in enumerate(zip([0] * 4, [0] * 4)):\n    i = a = b = 0\n",
    "reversed": "for x in reversed([0, 0, 0]):\n    x = 0\n",
    "a closure that counts": (
        "def make():\n    n = 0\n    def f():\n        nonlocal n\n        n += 1\n        return n\n    return f\n"
        "f = make()\nwhile True:\n    if f() > 5:\n        break\n"
    ),
    "a cell of its own": (
        "def run():\n    n = 0\n    def f():\n        nonlocal n\n        n += 1\n"
        "    while n < 5:\n        f()\nrun()\n"
    ),
    "a default that grows": "def f(x=[]):\n    x.append(1)\n    return len(x)\nwhile f() < 5:\n    pass\n",
    "a function's attribute": "def f():\n    f.n += 1\n    return f.n\nf.n = 0\nwhile f() < 5:\n    pass\n",
    "a class attribute": "class A:\n    n = 0\ndef f():\n    A.n += 1\n    return A.n\nwhile f() < 5:\n    pass\n",
    "an instance": "class A:\n    def __init__(self):\n        self.n = 0\na = A()\nwhile a.n < 5:\n    a.n += 1\n",
    "an iterator class": (
        "class It:\n    def __init__(self):\n        self.n = 0\n    def __iter__(self):\n        return self\n"
        "    def __next__(self):\n        self.n += 1\n        if self.n > 4:\n            raise StopIteration\n"
        "        return 0\nfor x in It():\n    pass\n"
    ),
    "a bound method": "xs = [1, 2, 3]\npop = xs.pop\nwhile xs:\n    pop()\n",
    "an exception's argument": (
        "box = [0]\nwhile True:\n    try:\n        raise ValueError(box)\n    except ValueError as e:\n"
        "        e.args[0][0] += 1\n        if box[0] > 4:\n            break\n"
    ),
    "a set that shrinks": "s = {1, 2, 3}\nwhile s:\n    s.pop()\n",
    "a generator": "def g():\n    for x in [0] * 4:\n        yield 0\nfor x in g():\n    pass\n",
    "the order of a dict": "d = {1: 0, 2: 0, 3: 0}\nwhile d:\n    d.popitem()\n",
    "another object, equal in value": (
        "a, b = [0], [0]\ncurrent, n = a, 0\nwhile n < 6:\n    current = b if n % 2 else a\n    n += 1\n"
    ),
    "aliases": "a = [0]\nb = a\nwhile b[0] < 5:\n    a[0] += 1\n",
    "minus zero": "x = 0.0\nwhile str(x) == '0.0':\n    x = -x\n",
    "true and one": "x = 1\nwhile x != 2:\n    x = {1: True}.get(x) if type(x) is int and x != 2 else 2\n",
    "time": "import time\nt = time.monotonic()\nwhile time.monotonic() - t < 0.05:\n    pass\n",
    "randomness": "import random\nwhile random.random() < 0.9:\n    pass\n",
    "input": "while True:\n    try:\n        input()\n    except EOFError:\n        break\n",
    "the end of the stack": "def f(n):\n    return f(n + 1)\ntry:\n    f(0)\nexcept RecursionError:\n    pass\n",
    "an error": "while True:\n    [][0]\n",
    "no program": "while True\n",
    "an exit": "while True:\n    raise SystemExit\n",
}

LOOPS = {
    "nothing": "while True:\n    pass\n",
    "a nested one": "for i in range(3):\n    while i == 1:\n        i = 1\n",
    "in a function": "def f(x):\n    while x:\n        x = [not x[0]]\nf([True])\n",
    "with output": "x = 0\nwhile x < 2:\n    print(x)\n    x = 1 - x\n",
    "with caught errors": "while True:\n    try:\n        [][0]\n    except IndexError as e:\n        pass\n",
    "objects that point at each other": (
        "class N:\n    pass\na, b = N(), N()\na.next, b.next = b, a\nat = a\nwhile at is not None:\n    at = at.next\n"
    ),
    "new objects of equal value": "x = [0]\nwhile x == [0]:\n    x = [0]\n",
    "a self-made iterator": (
        "class It:\n    def __iter__(self):\n        return self\n    def __next__(self):\n        return 0\n"
        "for x in It():\n    pass\n"
    ),
    "on one line": "while True: pass\n",
    "closures": (
        "def make():\n    n = 0\n    def f():\n        return n\n    return f\n"
        "f = make()\nwhile f() == 0:\n    f = make()\n"
    ),
}


@pytest.mark.parametrize("name", HALTING_TRAPS)
def test_what_halts_is_never_said_to_loop(name: str, place: Place) -> None:
    assert label(HALTING_TRAPS[name], place=place, seconds=3).label == "halts"


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_proved(name: str) -> None:
    found = label(LOOPS[name], in_process=True)
    assert found.label == "loops"
    assert found.evidence["again"] > found.evidence["first"] and found.evidence["rounds"] > 0
    assert found.evidence["state"] and found.evidence["line"]


def test_what_cannot_be_known_is_unknown(place: Place) -> None:
    for source in ("x = 0\nwhile True:\n    x += 1\n", "import time\nwhile True:\n    time.sleep(0.01)\n"):
        found = label(source, place=place, seconds=1)
        assert found.label == "unknown" and found.evidence["why"]


def test_sets_are_balanced_repeatable_and_carry_their_evidence() -> None:
    made = generate(60, seed=3)
    assert [one.label for one in made].count("halts") == [one.label for one in made].count("loops") == 30
    assert made == generate(60, seed=3)
    assert len({one.source for one in made}) == 60
    assert all(one.evidence for one in made)


def test_the_watched_run_and_the_plain_run_agree(place: Place) -> None:
    """What is labelled by watching is run as it is: what halts does, and what loops does not come to an end."""
    from cwm_env.tracing.stream import record

    for source in islice(candidates(random.Random(11)), 12):
        found = label(source, in_process=True)
        seconds = 10.0 if found.label == "halts" else 0.7
        request = {"mode": "program", "source": source, "file": "program.py", "trace": False}
        _, ending = record(request, place, seconds)
        assert (ending.exit_code is not None) == (found.label == "halts"), source
