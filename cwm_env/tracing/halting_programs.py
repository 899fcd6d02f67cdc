"""Programs of both kinds, halting and not, for evaluation: generated, labelled by running, balanced."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from cwm_env.tracing.halting import Labelled, label

_NAMES = ("a", "b", "c", "n", "x", "y")
_WORDS = ("alpha", "beta", "gamma")


def generate(count: int, seed: int = 0, judge: Callable[[str], Labelled] | None = None) -> list[Labelled]:
    """``count`` different programs, half of them halting (rounded down), half looping, in random order.

    Args:
        judge: labels a program; None runs it in this process, which is safe for what is generated here.

    The evidence of each label is attached. The same seed gives the same programs.
    """
    judge = judge or (lambda source: label(source, in_process=True, steps=5000))
    wanted = {"halts": count // 2, "loops": count - count // 2}
    found: list[Labelled] = []
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    for source in candidates(chance):
        labelled = judge(source)
        if wanted.get(labelled.label, 0) > 0:
            wanted[labelled.label] -= 1
            found.append(labelled)
        if not any(wanted.values()):
            break
    chance.shuffle(found)
    return found


def candidates(chance: random.Random) -> Iterator[str]:
    """Different programs without end, of several shapes."""
    shapes = (_modular, _walk, _queue, _collatz, _nested, _strings, _machine, _recursive, _objects)
    seen = set()
    while True:
        source = chance.choice(shapes)(chance)
        if source not in seen:
            seen.add(source)
            yield source


def _modular(chance: random.Random) -> str:
    m, step, start, goal = chance.randint(5, 60), chance.randint(1, 12), chance.randint(0, 40), chance.randint(0, 50)
    name = chance.choice(_NAMES)
    return f"{name} = {start}\nwhile {name} != {goal}:\n    {name} = ({name} + {step}) % {m}\nprint({name})\n"


def _walk(chance: random.Random) -> str:
    w, h = chance.randint(3, 9), chance.randint(3, 9)
    dx, dy, gx, gy = chance.randint(1, 3), chance.randint(1, 3), chance.randint(0, w - 1), chance.randint(0, h - 1)
    return (
        f"def f(x, y):\n    count = {'0' if chance.random() < 0.3 else 'None'}\n    while (x, y) != ({gx}, {gy}):\n"
        f"        x = (x + {dx}) % {w}\n        y = (y + {dy}) % {h}\n    return count\n\n"
        f"print(f(0, {chance.randint(0, 2)}))\n"
    )


def _queue(chance: random.Random) -> str:
    items = [chance.randint(1, 9) for _ in range(chance.randint(2, 5))]
    rule = chance.choice(("item - 1", "item - 2", "item", "item // 2", "9 - item"))
    return (
        f"queue = {items}\nwhile queue:\n    item = queue.pop(0)\n    if item {chance.choice(('>', '!='))} 0:\n"
        f"        queue.append({rule})\n"
    )


def _collatz(chance: random.Random) -> str:
    mul, add = chance.choice(((3, 1), (3, -1), (1, 3), (1, 1), (1, 5)))
    return (
        f"n = {chance.randint(2, 40)}\nwhile n != 1:\n    if n % 2 == 0:\n        n //= 2\n"
        f"    else:\n        n = {mul} * n + {add}\n"
    )


def _nested(chance: random.Random) -> str:
    k, m = chance.randint(2, 6), chance.randint(2, 8)
    change = chance.choice(("total += 1", "total -= 1", "total += i - 1", "total = 0", "total += j"))
    return (
        f"total = 0\nwhile total < {chance.randint(3, 20)}:\n    for i in range({k}):\n"
        f"        for j in range(0, {m}, {chance.randint(1, 3)}):\n"
        f"            if (i + j) % {chance.randint(2, 5)} == 0:\n"
        f"                {change}\n    total = total % {chance.randint(5, 30)}\n"
    )


def _strings(chance: random.Random) -> str:
    word, goal = chance.choice(_WORDS), chance.choice(_WORDS)
    turn = chance.randint(1, 4)
    goal = goal if chance.random() < 0.3 else word[turn * 2 % len(word) :] + word[: turn * 2 % len(word)]
    rotate = f"    text = text[{turn}:] + text[:{turn}]\n"
    return f"text = {word!r}\nwhile True:\n{rotate}    if text == {goal!r}:\n        break\n"


def _machine(chance: random.Random) -> str:
    states = [chance.randint(0, 5) for _ in range(5)]
    return (
        f"table = {states}\nstate, tape, at = 0, [0] * {chance.randint(3, 8)}, 0\nwhile state != 5:\n"
        f"    tape[at] = (tape[at] + {chance.randint(1, 2)}) % {chance.randint(2, 4)}\n"
        f"    at = (at + {chance.randint(1, 3)}) % len(tape)\n    state = table[(state + tape[at]) % 5]\n"
    )


def _recursive(chance: random.Random) -> str:
    return (
        f"def g(n):\n    if n <= 0:\n        return {chance.randint(0, 3)}\n"
        f"    return g(n - {chance.randint(1, 3)})\n\n"
        f"value = {chance.randint(1, 9)}\nwhile value > 0:\n    value = value - g({chance.randint(1, 9)})\n"
        f"    if value < {chance.randint(-3, 2)}:\n        value = {chance.randint(1, 9)}\n"
    )


def _objects(chance: random.Random) -> str:
    size = chance.randint(2, 6)
    links = [chance.randint(0, size) for _ in range(size)]
    return (
        "class Node:\n    def __init__(self, name):\n        self.name = name\n        self.next = None\n\n"
        f"links = {links}\nnodes = [Node(i) for i in range({size})]\nfor i, j in enumerate(links):\n"
        f"    nodes[i].next = nodes[j] if j < {size} else None\nat = nodes[{chance.randrange(size)}]\n"
        "while at is not None:\n    at = at.next\n"
    )
