"""Small parts of an activation's work that run at every event: JSON strings, and comparisons by identity."""

from itertools import repeat
from json.encoder import encode_basestring_ascii
from operator import is_
from typing import Any, Dict, List, Tuple


def quote(text: str) -> str:
    """A JSON string, in ASCII, that holds no text of a special token."""
    quoted = encode_basestring_ascii(text)
    return quoted.replace("<|", "\\u003c|") if "<|" in quoted else quoted


def quote_reprs(text: str) -> str:
    """The same of atoms' reprs, which hold nothing that does not print."""
    if _is_ascii is None or not _is_ascii(text) or '"' in text or "\\" in text or "<|" in text:
        return quote(text)
    return f'"{text}"'


_is_ascii: Any = getattr(str, "isascii", None)  # Python 3.7 and later


def variables_of(frame: Any, code: Any) -> Dict[str, Any]:
    """The local variables of a frame. In a module or class body, without the names that Python puts there."""
    found = frame.f_locals
    if code.plain:
        return {k: v for k, v in found.items() if type(k) is str and k != ".." and not (k[:2] == "__" == k[-2:])}
    return found  # type: ignore[no-any-return]


def holds(container: Any, value: Any) -> bool:
    """Whether a list or tuple holds an object, by identity."""
    return any(map(is_, container, repeat(value)))


_comparers: Dict[int, Any] = {}
_MOST_COMPARED = 40


def moved(size: int) -> Any:
    """A function of ``size`` values and as many earlier ones: which are another object now, with their places.

    It is written out for each size, since a loop would take longer than all the rest of a line's work.
    """
    if size > _MOST_COMPARED:
        return _moved_of_many
    if size not in _comparers:
        lines = ["def moved(values, last):"]
        for name, source in (("a", "values"), ("b", "last")):
            lines.append(" %s = %s" % ("".join("%s%d, " % (name, i) for i in range(size)) or "()", source))
        lines.append(" found = []")
        lines += [" if a%d is not b%d: found.append((%d, a%d))" % (i, i, i, i) for i in range(size)]
        namespace: Dict[str, Any] = {}
        exec("\n".join([*lines, " return found"]), namespace)
        _comparers[size] = namespace["moved"]
    return _comparers[size]


def _moved_of_many(values: Any, last: List[Any]) -> List[Tuple[int, Any]]:
    return [(i, value) for i, (value, before) in enumerate(zip(values, last)) if value is not before]
