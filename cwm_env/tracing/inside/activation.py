"""One activation of a function: which of its variables changed since its last frame, as the text of its next.

Nothing but immutable atoms is kept from one frame to the next: holding anything else would keep objects of the
program alive, and a weak reference or a finalizer would tell.
"""

from _thread import _count
from gc import get_count
from json.encoder import encode_basestring_ascii
from operator import add
from typing import Any, Dict, Iterable, List, Optional, Tuple

from cwm_env.tracing.inside.calm import moment
from cwm_env.tracing.inside.comparing import holds, moved, quote, quote_reprs, variables_of
from cwm_env.tracing.inside.keepers import KEEPERS, keep
from cwm_env.tracing.inside.lines import NEVER, Plans, builtin
from cwm_env.tracing.inside.values import ATOMS, Renderer

_NOTHING = object()  # is never a value, so that a variable that is looked up by identity always has "changed"
_SMALL = 1 << 60
_PLAIN = frozenset([bool, float, type(None)])
"""Types whose every value is short, and a JSON string between two quotes."""
_UNCHANGED = '".."'


class Activation:
    """What the frames of one activation have shown so far."""

    __slots__ = (
        "around", "calm", "code", "dots", "exposed", "frame", "heads", "kept", "keys", "kinds", "last", "loses_names",
        "moment", "moved", "number", "plans", "renderer", "shape", "short", "texts", "unchanged",
    )  # fmt: skip

    def __init__(self, code: Any, renderer: Renderer, frame: Any = None) -> None:
        """Begin an activation of a registered code object; ``frame`` is only for the recorder to compare with."""
        self.code, self.renderer, self.frame, self.calm = code, renderer, frame, code.calm
        self.loses_names = code.loses_names
        self.short = renderer.chars // 10  # characters of a string whose repr, all escapes, is never cut
        self.number = 0
        """The line that runs now; 0 after an exception."""
        self.plans: Any = NEVER
        """Line to what it can change; None where the kinds of the variables have changed since."""
        self.moment: Any = None
        self.exposed = True
        """Whether something else than its own lines might change a variable."""
        self.unchanged = "{}"
        self.around: List[Optional[Tuple[str, str]]] = []
        self.keys: List[str] = []
        self.kinds: List[str] = []
        self.last: List[Any] = []
        self.texts: List[str] = []
        self.kept: List[Any] = []

    def call(self, variables: Dict[str, Any], number: int) -> str:
        """The variables in full, as a JSON object, where line ``number`` is to go on."""
        self._name(list(variables))
        self.number = number
        size = len(self.keys)
        self.last, self.texts, self.kept = [_NOTHING] * size, [""] * size, [None] * size
        self.kinds = ["?"] * size
        for i, value in enumerate(variables.values()):
            self._changed(i, value)
        return "{%s}" % ", ".join(map(add, self.heads, self.texts))

    def line(self, frame: Any, number: int) -> Any:
        """The variables before line ``number`` as a JSON object, what did not change as ``".."``."""
        plans = self.plans
        if plans is None:
            plans = self._plan()
        plan = plans[self.number]
        self.number = number
        if plan is None or (
            # This is ``moment() == self.moment``, where there is one.
            self.exposed and (_count() or get_count()[1:] != self.moment or not self.calm.holds)
        ):
            return self._looked_at(frame)
        i, name, names = plan[0], plan[1], plan[7]
        if names and not builtin(names, frame):
            self.plans = NEVER  # not even later: an iterator that such a function made may still be there
            self.code.readable = False
            return self._looked_at(frame)
        if i < 0:
            return self.unchanged if i == -1 else self._touched(plan, frame.f_locals)
        value = frame.f_locals[name]
        last = self.last
        if value is last[i]:
            return self.unchanged
        kind = type(value)
        if last[i] is _NOTHING:
            text = ""
        # What changes most often, without a call.
        elif (kind is int and -_SMALL < value < _SMALL) or kind in _PLAIN:
            text = f'"{value!r}"'
        elif kind is str and len(value) <= self.short:
            text = encode_basestring_ascii(repr(value))
            if "<|" in text:
                text = quote(repr(value))
        else:
            text = ""
        if not text:
            if not self._changed(i, value):
                return self.unchanged
            text = self.texts[i]
        elif text == self.texts[i]:
            last[i] = value
            return self.unchanged
        else:
            last[i] = value
            self.texts[i] = text
        around = self.around[i] or self._around(i)
        return f"{around[0]}{text}{around[1]}"

    def _looked_at(self, frame: Any) -> str:
        """The variables, each of them looked at."""
        before = moment() if self.code.readable else None  # what runs while we look is seen the next time
        variables = variables_of(frame, self.code)
        if len(variables) != len(self.last) or (self.loses_names and list(variables) != self.keys):
            shown = self._renamed(variables)
        else:
            shown = self._shown(self.moved(variables.values(), self.last))
        self.moment = before
        return shown

    def _shown(self, moved: Iterable[Tuple[int, Any]]) -> str:
        """The variables, where these alone may have changed."""
        first = -1
        shown: Optional[List[str]] = None
        last, texts = self.last, self.texts
        for i, value in moved:
            kind, kept = type(value), self.kept[i]
            # The type alone, where that is all there is to see; or what knows the container's content.
            if kept is not None:
                if kept is kind:
                    continue
                if type(kept) in KEEPERS and kept.kind is kind and self._same(kept, value):
                    continue
            if last[i] is _NOTHING:
                text = ""
            elif (kind is int and -_SMALL < value < _SMALL) or kind in _PLAIN:
                text = f'"{value!r}"'
            elif kind is str and len(value) <= self.short:
                text = quote(repr(value))
            else:
                text = ""
            if text:
                last[i] = value
                if text == texts[i]:
                    continue
                texts[i] = text
            elif not self._changed(i, value):
                continue
            if first < 0:
                first = i
                continue
            if shown is None:
                shown = self.dots[:]
                shown[first] = self.heads[first] + texts[first]
            shown[i] = self.heads[i] + texts[i]
        if first < 0:
            return self.unchanged
        if shown is not None:
            return "{%s}" % ", ".join(shown)
        around = self.around[first] or self._around(first)
        return f"{around[0]}{texts[first]}{around[1]}"

    def _touched(self, plan: Any, variables: Dict[str, Any]) -> str:
        """The variables, where a line of this plan has run."""
        if plan.edit is not None:
            shown = self._edited(plan, variables)
            if shown:
                return shown
        found = [(i, variables[name]) for i, name in plan.stored]
        for changed in plan.mutated:
            container = variables[changed]
            for i, name in plan.kin:
                value = variables[name]
                if value is container or (plan.deep and holds(container, value)):
                    found.append((i, value))
            for i, name in plan.holders:
                value = variables[name]
                if plan.deep or self.kinds[i] != "r" or holds(value, container):
                    found.append((i, value))
        return self._shown(found)

    def _edited(self, plan: Any, variables: Dict[str, Any]) -> str:
        """The variables where a container was edited that no other shows; empty where one must look closer."""
        i, name, edit, find = plan.edit
        container = changed = variables[name]
        kept = self.kept[i]
        try:
            arguments = find(variables)
            if plan.deep:
                changed = container[arguments[0]]
            for _, other in plan.kin:
                if variables[other] is changed:
                    return ""
            for place, other in plan.holders:
                if plan.deep or self.kinds[place] != "r" or holds(variables[other], container):
                    return ""
            if not kept.edit(container, edit, arguments):
                return ""
        except Exception:  # an index that is none: the line did something else
            self.kept[i] = None
            return ""
        text = quote_reprs(kept.text())
        if text == self.texts[i]:
            return self.unchanged
        self.texts[i] = text
        around = self.around[i] or self._around(i)
        return f"{around[0]}{text}{around[1]}"

    def _plan(self) -> Any:
        """What is known of the lines, for the kinds that the variables have now."""
        code = self.code
        plans = self.shape.get("".join(self.kinds)) if code.readable else NEVER
        if plans is None:
            plans = Plans(code.code, self.keys, self.kinds) if len(self.shape) < 50 else NEVER
            self.shape["".join(self.kinds)] = plans
        exposed = plans is not NEVER and (code.exposed or not set(self.kinds) <= {"a"})
        if exposed and not self.exposed:
            self.moment = None  # what is known of the moment is too old
        self.exposed = exposed
        self.plans = plans
        return plans

    @staticmethod
    def _same(kept: Any, value: Any) -> bool:
        try:
            return bool(kept.same(value))
        except Exception:  # another thread changed it under us
            return False

    def _around(self, i: int) -> Tuple[str, str]:
        """What stands before and after the value of variable ``i`` where it alone has changed."""
        before, after = self.dots[:i] + [self.heads[i]], [""] + self.dots[i + 1 :]
        found = self.around[i] = ("{" + ", ".join(before), ", ".join(after) + "}")
        return found

    def _changed(self, i: int, value: Any) -> bool:
        """Whether the text of variable ``i`` is another now; it is kept."""
        kind = type(value)
        if kind in ATOMS:
            self.last[i], self.kept[i] = value, None
            text, sort = quote(self.renderer.text(value)), "a"
        else:
            self.last[i] = _NOTHING
            try:
                text = self._text_of(i, kind, value)
            except Exception:  # another thread changed it under us
                self.kept[i], text = None, quote(self.renderer.text(value))
            kept = self.kept[i]
            sort = "o" if kept is None else "c" if kept is kind else kept.sort
        if sort != self.kinds[i]:
            self.kinds[i], self.plans = sort, None
        if text == self.texts[i]:
            return False
        self.texts[i] = text
        return True

    def _text_of(self, i: int, kind: type, value: Any) -> str:
        kept = self.kept[i]
        if type(kept) in KEEPERS and kept.kind is kind:
            text = kept.update(value)
            if text is not None:
                return quote_reprs(text)
        constant = self.renderer.constant.get(kind)
        if constant is not None:
            self.kept[i] = kind
            return quote(constant)
        self.kept[i] = kept = keep(value, self.renderer)
        return quote(self.renderer.text(value)) if kept is None else quote_reprs(kept.text())

    def _name(self, keys: List[str]) -> None:
        """Take these as the names of the variables from now on."""
        self.keys = keys
        shapes = self.code.shapes
        shape = shapes.get(tuple(keys))
        if shape is None:
            heads = [quote(key) + ": " for key in keys]
            dots = [head + _UNCHANGED for head in heads]
            shape = heads, dots, "{%s}" % ", ".join(dots), moved(len(keys)), [None] * len(keys), {}
            if len(shapes) < 100:
                shapes[tuple(keys)] = shape
        self.heads, self.dots, self.unchanged, self.moved, self.around, self.shape = shape
        self.plans = None

    def _renamed(self, variables: Dict[str, Any]) -> str:
        """A frame where a variable came or went."""
        before = {key: (self.last[i], self.texts[i], self.kept[i], self.kinds[i]) for i, key in enumerate(self.keys)}
        self._name(list(variables))
        known = [before.get(key, (_NOTHING, "", None, "?")) for key in self.keys]
        self.last, self.texts, self.kept, self.kinds = ([row[column] for row in known] for column in range(4))
        shown = self.dots[:]
        for i, value in enumerate(variables.values()):
            if value is not self.last[i] and self._changed(i, value):
                shown[i] = self.heads[i] + self.texts[i]
        return "{%s}" % ", ".join(shown)
