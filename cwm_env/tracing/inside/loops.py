"""Runs an instrumented program (see ``subset.py``) and watches for a state that comes back.

At the head of a loop's body, the values of all variables of the running function and of the module, with all that they
refer to and the places of all iterators, are the whole of what decides how the program goes on until that function is
left: everything below it on the stack stands still, and what cannot be reached from here cannot be used from here. If
the whole comes back at the same loop, in the same activation, the program goes round for ever.
"""

import gc
import io
import sys
import time
from collections import OrderedDict
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Dict, List, Optional, Tuple

_ATOMS = (int, float, bool, str, bytes, complex, type(None), type(Ellipsis), range, type(NotImplemented))
_CELL = type((lambda x: lambda: x)(1).__closure__[0])  # type: ignore[index]
_SAMPLES: List[Any] = [[], (), "", b"", bytearray(), {}, {}.values(), {}.items(), range(1), range(1 << 70)]
_ITERATORS = frozenset(
    [type(iter(made)) for made in _SAMPLES]
    + [type(reversed([])), type(reversed(range(1))), enumerate, zip, map, filter, reversed]
)
_OURS = frozenset("_cwm_tick _cwm_enter _cwm_text _cwm_modulo _cwm_iter _cwm_str repr ascii print".split())
_LARGEST = 20000
_DEEPEST = 700
_KEPT = 200


class Stop(BaseException):
    """Ends the program: there is an answer, or there will be none."""


class Unknown(Exception):
    """A state holds something that cannot be seen through."""


class Watch:
    """Follows one run."""

    def __init__(self, steps: int, seconds: float) -> None:
        """Give up after ``steps`` ticks or ``seconds``."""
        self._left, self._until = steps, time.monotonic() + seconds
        self.steps = 0
        self.answer: Dict[str, Any] = {}
        self._codes: Dict[int, Any] = {}
        self._marks: "OrderedDict[Tuple[int, int], _Mark]" = OrderedDict()

    def _stop(self, answer: Dict[str, Any]) -> None:
        self.answer = self.answer or answer
        raise Stop

    def enter(self) -> None:
        """A function begins."""
        self._count()
        try:
            sys._getframe(_DEEPEST)
        except ValueError:
            return
        # Where the stack ends depends on more than the program's state, and on the instrumentation.
        self._stop({"label": "unknown", "why": "its recursion is deep"})

    def _count(self) -> None:
        self.steps += 1
        if self.answer:
            raise Stop  # the program has caught the first one
        if self.steps > self._left or (self.steps % 64 == 0 and time.monotonic() > self._until):
            self._stop({"label": "unknown", "why": "its budget is spent"})

    def tick(self, loop: int, line: int) -> None:
        """A loop comes round. Brent's way: compare with one state, kept at 1, 2, 4, 8 … rounds."""
        self._count()
        frame = sys._getframe(1)
        mark = self._marks.get((id(frame), loop))
        if mark is None:
            mark = self._marks[id(frame), loop] = _Mark(frame)
            if len(self._marks) > _KEPT:
                self._marks.popitem(last=False)
        mark.rounds += 1
        try:
            state = canonical(frame, self._codes)
        except Unknown:
            mark.state = None
            return
        if state == mark.state:
            evidence: Dict[str, Any] = {
                "line": line,
                "first": mark.step,
                "again": self.steps,
                "rounds": mark.rounds - mark.kept_at,
            }
            evidence["state"] = state[:4000]
            self._stop({"label": "loops", "evidence": evidence})
        if mark.state is None or mark.rounds >= 2 * mark.kept_at:
            mark.state, mark.kept_at, mark.step = state, mark.rounds, self.steps


class _Mark:
    """A state of one loop in one activation, kept to compare with."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame  # so that its id stays its own
        self.rounds = self.kept_at = self.step = 0
        self.state: Optional[str] = None


def canonical(frame: Any, codes: Dict[int, Any]) -> str:
    """All that decides how this activation goes on, as text; two states with the same text are the same.

    Args:
        codes: numbers of code objects, kept for the whole run.

    Raises:
        Unknown: something in it has state that cannot be seen.
    """
    writer = _Writer(codes)
    for cell in gc.get_referents(frame):
        if type(cell) is _CELL:
            writer.write(cell)
    names = dict(frame.f_locals)
    if frame.f_locals is not frame.f_globals:
        writer.names(names)
    writer.names(frame.f_globals)
    return " ".join(writer.parts)


class _Writer:
    def __init__(self, codes: Dict[int, Any]) -> None:
        self.parts: List[str] = []
        self._codes = codes
        self._numbers: Dict[int, int] = {}
        self._held: List[Any] = []

    def names(self, found: Dict[str, Any]) -> None:
        """A namespace, by name."""
        self.parts.append("{")
        for name in sorted(found):
            if not name.startswith("__") and name not in _OURS:
                self.parts.append(name)
                self.write(found[name])
        self.parts.append("}")

    def write(self, value: Any) -> None:
        kind = type(value)
        if kind in _ATOMS:
            self.parts.append("%s:%r" % (kind.__name__, value))
            return
        if kind is BuiltinFunctionType:
            self._builtin(value)
            return
        if isinstance(value, ModuleType):
            self.parts.append("module:" + value.__name__)
            return
        known = self._numbers.get(id(value))
        if known is not None:
            self.parts.append("#%d" % known)
            return
        self._numbers[id(value)] = len(self._numbers)
        self._held.append(value)  # its id must stay its own while we write
        if len(self._numbers) > _LARGEST:
            raise Unknown
        self._inside(kind, value)

    def _builtin(self, value: Any) -> None:
        self.parts.append("builtin:" + value.__qualname__)
        owner = value.__self__
        if owner is not None and not isinstance(owner, (ModuleType, type)):
            self.write(owner)

    def _inside(self, kind: type, value: Any) -> None:
        if kind is list or kind is tuple:
            self._all(kind.__name__ + "(", value)
        elif kind is dict:
            self._all("dict(", [part for pair in value.items() for part in pair])
        elif kind is bytearray:
            self.parts.append("bytearray:%r" % bytes(value))
        elif kind is slice:
            self._all("slice(", [value.start, value.stop, value.step])
        elif kind is _CELL:
            try:
                self._all("cell(", [value.cell_contents])
            except ValueError:
                self.parts.append("cell()")
        elif kind is FunctionType:
            head = "function:%s:%d(" % (value.__qualname__, self._number(value.__code__))
            self._all(head, [value.__defaults__, value.__kwdefaults__, value.__dict__])
            self._all("(", value.__closure__ or ())
        elif kind is MethodType:
            self._all("method(", [value.__func__, value.__self__])
        elif kind in (property, staticmethod, classmethod):
            held = [value.fget, value.fset] if kind is property else [value.__func__]
            self._all(kind.__name__ + "(", held)
        elif kind in _ITERATORS:
            self._all(kind.__name__ + "(", value.__reduce__())
        elif kind is type:
            self._class(value)
        elif isinstance(value, BaseException):
            self._all("exception(", [kind, value.args, value.__dict__])
        else:
            self._instance(kind, value)

    def _number(self, code: Any) -> int:
        """Of a code object, the same throughout a run and in every run."""
        number: int = self._codes.setdefault(id(code), (len(self._codes), code))[0]
        return number

    def _all(self, head: str, values: Any) -> None:
        self.parts.append(head)
        for value in values:
            self.write(value)
        self.parts.append(")")

    def _class(self, value: type) -> None:
        if value.__module__ == "builtins" or not value.__flags__ & 512:
            self.parts.append("type:" + value.__name__)
            return
        self.parts.append("class:" + value.__qualname__)
        self._all("(", value.__bases__)
        held = {k: v for k, v in value.__dict__.items() if not (k.startswith("__") and not callable(v))}
        self.names(
            {k: v for k, v in held.items() if type(v).__name__ not in ("getset_descriptor", "member_descriptor")}
        )
        for name in sorted(held):
            if name.startswith("__") and type(held[name]) is FunctionType:
                self.write(held[name])

    def _instance(self, kind: type, value: Any) -> None:
        plain = all(
            c is object or (type(c) is type and c.__flags__ & 512 and "__slots__" not in c.__dict__)
            for c in kind.__mro__
        )
        if not plain or kind.__module__ != "program":
            raise Unknown  # a set, whose order depends on its past; a generator; something of a library
        self._all("instance(", [kind, value.__dict__])


def _checked(value: Any, depth: int = 0) -> Any:
    """Let a value become text, unless an address could be in it."""
    if type(value) in _ATOMS:
        return value
    if type(value) in (list, tuple, dict, set, frozenset) and depth < 20:
        for part in value:
            _checked(part, depth + 1)
        if type(value) is dict:
            for part in value.values():
                _checked(part, depth + 1)
        return value
    if isinstance(value, BaseException):
        _checked(value.args, depth + 1)
        return value
    raise Unknown


def run(source: str, steps: int, seconds: float) -> Dict[str, Any]:
    """Run an instrumented source as the module ``program``, and say how it ended: ``label`` with ``evidence``."""
    watch = Watch(steps, seconds)

    def checked(value: Any) -> Any:
        try:
            return _checked(value)
        except Unknown:
            return watch._stop({"label": "unknown", "why": "an address could become part of its state"})

    def modulo(left: Any, right: Any) -> Any:
        return left % (checked(right) if type(left) in (str, bytes) else right)

    module = ModuleType("program")
    module.__dict__.update(
        {
            "_cwm_tick": watch.tick, "_cwm_enter": watch.enter, "_cwm_text": checked, "_cwm_modulo": modulo,
            "_cwm_iter": iter, "_cwm_str": lambda *args: str(*map(checked, args)),
            "repr": lambda value: repr(checked(value)), "ascii": lambda value: ascii(checked(value)), "print": _print,
        }
    )  # fmt: skip
    sys.modules["program"] = module
    code = compile(source, "program.py", "exec")
    try:
        exec(code, module.__dict__)
        ended = "returned"
    except Stop:
        ended = "stopped"
    except BaseException as error:
        ended = "raised " + type(error).__name__
    finally:
        sys.modules.pop("program", None)
    if watch.answer:
        return watch.answer
    return {"label": "halts", "evidence": {"steps": watch.steps, "ended": ended}}


def _print(*values: Any, **options: Any) -> None:
    """What a program prints does not come back to it; making the text may run its own ``__str__``."""
    print(*values, file=io.StringIO(), **{k: v for k, v in options.items() if k in ("sep", "end")})
