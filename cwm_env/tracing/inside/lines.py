"""What a line of a function can change, read from its bytecode.

Most lines change one variable and nothing else: ``k = i % 40`` runs no code of the program's where ``i`` is an integer,
and leaves every container as it is. A plan says so, for one line and for the kinds of what the variables hold as it
begins: it names all that can be another afterwards. Whatever is not known to be harmless has no plan, an instruction of
a later Python too.

The kinds are those of ``steps.py``; a variable's may also be ``c``, what always reads the same, or ``o``, any other.
"""

import builtins
import dis
import sys
from collections import defaultdict
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from cwm_env.tracing.inside.steps import ANY, CONTAINERS, PURE, SAFE, STEPS, Unknown, either, expression, may_hold

READABLE = (3, 11) <= sys.version_info < (3, 14) and not sys.flags.bytes_warning
"""Before that, a jump into the middle of a line is no event, and a line does not tell what ran."""
_BUILTINS = {name: getattr(builtins, name) for name in PURE}


class Plan(NamedTuple):
    """What a line can change."""

    place: int
    """Of the only variable that it can make another object; -1 for none at all; -2 for what stands below."""
    name: str
    stored: Tuple[Tuple[int, str], ...] = ()
    """Variables that may be another object, or hold others."""
    mutated: Tuple[str, ...] = ()
    """Those of them whose container, or a row of it, was changed."""
    kin: Tuple[Tuple[int, str], ...] = ()
    """Variables that may be the same container, or one of its rows."""
    holders: Tuple[Tuple[int, str], ...] = ()
    """Variables in whose container it may be."""
    deep: bool = False
    """Whether it was a row."""
    names: Tuple[str, ...] = ()
    """Built-in functions that are called."""
    edit: Any = None
    """What was done to the only container that was changed, and once: the place and name of its variable, what it was,
    and a function of the variables that gives the arguments, the index of the row first."""


Found = Optional[Plan]
_OFTEN = 4
"""A line that runs less often is not worth the reading."""
NEVER: Any = defaultdict(type(None))
"""For code whose lines cannot be read: line to no plan."""


class Plans(Dict[int, Found]):
    """Line to plan, for a code object and the kinds of its variables."""

    def __init__(self, code: Any, keys: List[str], kinds: List[str]) -> None:
        """Plans are made as they are asked for."""
        super().__init__()
        self._code, self._keys, self._kinds = code, keys, dict(zip(keys, kinds))
        self._asked: Dict[int, int] = {}

    def __missing__(self, line: int) -> Found:
        self._asked[line] = asked = self._asked.get(line, 0) + 1
        if asked < _OFTEN:
            return None
        instructions = _lines_of(self._code).get(line, ())
        self[line] = found = _Reading(self._kinds).plan(instructions, self._keys)
        return found


def builtin(names: Tuple[str, ...], frame: Any) -> bool:
    """Whether these names are the built-in functions in a frame."""
    for name in names:
        if name in frame.f_globals or frame.f_builtins.get(name) is not _BUILTINS[name]:
            return False
    return True


_known: Dict[int, Tuple[Any, Dict[int, List[Any]]]] = {}
_JUMPS = frozenset(["JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"])
_LEAVING = frozenset(["FOR_ITER", "JUMP_IF_FALSE_OR_POP", "JUMP_IF_TRUE_OR_POP"])
_ENDS = frozenset(["RETURN_VALUE", "RETURN_CONST"])
_BEGINS, _FROM_ELSEWHERE = 2, 1


def _lines_of(code: Any) -> Dict[int, List[Any]]:
    """Line to instructions: name, argument, its value, offset, offset of the target, and how one comes there."""
    kept = _known.get(id(code))
    if kept is not None and kept[0] is code:
        return kept[1]
    numbers = {offset: line for start, stop, line in code.co_lines() for offset in range(start, stop, 2)}
    listed = list(dis.get_instructions(code))
    jumps = {at.offset: at.argval for at in listed if at.opcode in dis.hasjrel or at.opcode in dis.hasjabs}
    passed = {at.offset for at in listed if at.opname in _JUMPS and numbers.get(at.offset) is None}
    sources: Dict[int, Set[Any]] = {}
    for offset, target in jumps.items():
        while target in passed:  # a jump to a jump that is on no line
            target = jumps[target]
        jumps[offset] = target
        sources.setdefault(target, set()).add(numbers.get(offset))
    found: Dict[Any, List[Any]] = {None: []}
    before: Any = None
    for at in listed:
        line, target = numbers.get(at.offset), jumps.get(at.offset, -1)
        coming = _BEGINS if line != before else _FROM_ELSEWHERE if sources.get(at.offset, set()) - {line} else 0
        if line is None:
            found[before].append(("", 0, None, at.offset, -1, 0))  # what runs next is on no line
        found.setdefault(line, []).append((at.opname, at.arg or 0, at.argval, at.offset, target, coming))
        if target >= 0 and numbers.get(target) is None:
            found[line].append(("", 0, None, at.offset, -1, _FROM_ELSEWHERE))
        before = line
    if len(_known) > 1000:
        _known.clear()
    _known[id(code)] = code, found
    return found


class _State:
    """Kinds at one point: of what is on the stack, and of the variables that the line has stored so far."""

    __slots__ = ("now", "stack")

    def __init__(self, stack: List[str], now: Dict[str, str]) -> None:
        self.stack, self.now = stack, now


class _Reading:
    """Follows the instructions of one line, with kinds in place of values."""

    def __init__(self, kinds: Dict[str, str]) -> None:
        self.kinds = kinds
        self.state: Any = None
        """None where one does not come from the instruction before."""
        self.arriving: Dict[int, List[_State]] = {}
        self.stored: Set[str] = set()
        self.mutated: Set[str] = set()
        self.names: Set[str] = set()
        self.deep = self.moved = False
        """Whether a row was changed; and whether a row may have been put in or taken out."""
        self.edits: List[Tuple[str, List[str]]] = []
        """What was done to containers: the name, and its arguments as expressions."""
        self.steady = True
        """Whether only atoms were stored, and could go round."""

    def plan(self, instructions: Any, keys: List[str]) -> Found:
        """What they can change; None where nobody knows."""
        try:
            self._read(instructions)
        except (Unknown, IndexError):
            return None
        if not instructions or self.stored & self.mutated or not self.stored <= set(keys):
            return None
        if self.deep and self.moved:  # what was changed may be in no container any more, and still in a variable
            return None
        names = tuple(sorted(self.names))
        if not self.mutated and len(self.stored) < 2:
            return next((Plan(keys.index(name), name, names=names) for name in self.stored), Plan(-1, "", names=names))
        changed = {self.kinds[name] for name in self.mutated}
        within = frozenset("or" if self.deep or "l" in changed else "o" if changed else "")
        alike = changed | {"l"} if self.deep else changed
        others = {name: kind for name, kind in self.kinds.items() if name not in self.mutated | self.stored}
        rows = [
            self.stored | self.mutated,
            {name for name, kind in others.items() if kind in alike},
            {name for name, kind in others.items() if kind in within},
        ]
        stored, kin, holders = (tuple((keys.index(name), name) for name in sorted(row)) for row in rows)
        edit = self._edit(keys) if len(self.stored) == 0 else None
        return Plan(-2, "", stored, tuple(sorted(self.mutated)), kin, holders, self.deep, names, edit)

    def _edit(self, keys: List[str]) -> Any:
        """The edit, if there was one, which is done once and can be told by the variables as they are afterwards."""
        if len(self.edits) != 1 or not self.steady:
            return None
        name, arguments = self.edits[0]
        if name not in ("append", "pop", "set") or not all(arguments):
            return None
        text = "lambda v: ({})".format("".join(text + ", " for text in arguments))
        changed = next(iter(self.mutated))
        return keys.index(changed), changed, name, eval(text, {"__builtins__": {}})

    def _read(self, instructions: Any) -> None:
        offsets = {at[3]: at[0] for at in instructions}
        for opname, arg, value, offset, target, coming in instructions:
            if opname == "FOR_ITER":
                self._round(coming)
            else:
                self._arrive(offset, coming)
            if self.state is None:
                continue
            step = STEPS.get(opname)
            if step is None:
                raise Unknown
            step(self, arg, target if opname in _LEAVING else value)
            if target >= 0:
                if opname not in _LEAVING:
                    self.leave(target)
                if target <= offset and target in offsets:
                    if offsets[target] != "FOR_ITER" or not self._steady():
                        raise Unknown
                    self.steady = False  # an edit may have been made twice
            if opname in _JUMPS or opname in _ENDS:
                self.state = None
            elif opname == "YIELD_VALUE":  # what follows comes after a call frame
                self.state = _State([], {})

    def leave(self, target: int, stack: Optional[List[str]] = None) -> None:
        """Jump, perhaps; with this stack, if it is another than here."""
        state = _State(self.state.stack[:] if stack is None else stack, dict(self.state.now))
        self.arriving.setdefault(target, []).append(state)

    def _steady(self) -> bool:
        """Whether the line can go round within itself, and find everything as it was read."""
        return self.steady and all(self.kinds.get(name) == "a" for name in self.stored)

    def _round(self, coming: int) -> None:
        """The head of a loop. Where one comes from is not asked: the iterator alone matters."""
        if coming == _BEGINS or self.state is None or self.state.now or self.state.stack[-1:] != ["*iterator"]:
            raise Unknown
        self.state = _State(["*iterator"], {})

    def _arrive(self, offset: int, coming: int) -> None:
        """Put together all ways in which one comes here."""
        states = self.arriving.pop(offset, [])
        if coming:
            states.append(_State([], {}))
        if self.state is not None and coming != _BEGINS:
            states.append(self.state)
        if not states:
            self.state = None
        while len(states) > 1:
            states.append(self._joined(states.pop(), states.pop()))
        self.state = states[0] if states else None

    def _joined(self, a: _State, b: _State) -> _State:
        size = min(len(a.stack), len(b.stack))
        stack = [either(x, y) for x, y in zip(a.stack[len(a.stack) - size :], b.stack[len(b.stack) - size :])]
        now = {
            name: either(a.now.get(name) or self._first(name), b.now.get(name) or self._first(name))
            for name in {**a.now, **b.now}
        }
        return _State(stack, now)

    def _first(self, name: str) -> str:
        """The kind of a variable as the line begins."""
        kind = self.kinds.get(name, "?")
        return "h" if kind in "co" else kind + name if kind in CONTAINERS else kind

    def pop(self, allowed: Any = SAFE) -> str:
        """Take the uppermost, of an allowed kind."""
        found: str = self.state.stack.pop() if self.state.stack else "?"
        if found[0] not in allowed:
            raise Unknown
        return found

    def push(self, *kinds: str) -> None:
        """Put on the stack."""
        self.state.stack.extend(kinds)

    def kind(self, name: str) -> str:
        """Of a variable, now."""
        return str(self.state.now.get(name) or self._first(name))

    def store(self, name: str) -> None:
        """Let a variable be what is uppermost; what it was may be gone then."""
        if self.kind(name)[0] not in SAFE:
            raise Unknown
        found = self.pop(ANY)
        self.state.now[name] = found if found[0] in SAFE else "h"
        self.steady = self.steady and found == "a"
        self.stored.add(name)

    def mutate(self, owner: str, flat: bool, edit: str, *arguments: str) -> None:
        """A variable's container, or a row of it, gets something: an atom, if ``flat``."""
        told = [owner] * (owner[0] == "w") + list(arguments) * (edit != "append")
        self.edits.append((edit, [expression(argument) for argument in told]))
        name = owner[1:]
        if not name or name in self.stored:
            raise Unknown
        self.mutated.add(name)
        self.deep = self.deep or owner[0] == "w"
        self.moved = self.moved or owner[0] == "r"
        if flat:
            return
        self.steady = False
        for other, held in self.kinds.items():
            if held in CONTAINERS:  # it may be one of those that were only of atoms
                self.state.now[other] = "h"
        self.state.now.update((other, "h") for other, held in self.state.now.items() if may_hold(held))
        self.state.stack[:] = ["h" if may_hold(held) else held for held in self.state.stack]
