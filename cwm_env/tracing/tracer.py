"""The tracer as one file: what is sent into a sandbox and run with the image's own Python.

    python -m cwm_env.tracing.tracer > tracer.py

It needs the standard library alone and any CPython since 3.6. The parts lie in ``inside/``, one idea each.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

_PACKAGE = "cwm_env.tracing.inside"
_VALUES = ("types_of", "simple_repr", "known", "values", "keepers")
_LINES = ("steps", "lines", "calm", "codes", "comparing", "activation")
_PARTS = (*_VALUES, *_LINES, "sources", "recorder", "settrace", "monitor", "loops", "modes", "runner")
"""In the order in which they need each other."""
_LOADER = """\
import sys
from types import ModuleType
package = sys.modules["cwm_tracer"] = ModuleType("cwm_tracer")
package.__path__ = []
for name, text in PARTS:
    module = sys.modules["cwm_tracer." + name] = ModuleType("cwm_tracer." + name)
    setattr(package, name, module)
    exec(compile(text, "<cwm_tracer/" + name + ".py>", "exec"), module.__dict__)
module.main()
"""

STARTER = """\
import os
def take(size):
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            raise SystemExit("the tracer ended early")
        data += part
    return data
exec(compile(take(int(take(10))), "<cwm_tracer>", "exec"))
"""
"""What a command line carries, which has room for no more: it takes the tracer from standard input, and runs it."""


def framed(text: str) -> bytes:
    """Text as ``STARTER`` and the tracer take it from standard input: its length in ten digits before it."""
    data = text.encode()
    return b"%010d" % len(data) + data


@cache
def one_file(more: str = "") -> str:
    """The text of the file: a program that reads a request on standard input (see ``inside/runner.py``).

    Args:
        more: the text of one more module, which is run last and may change the others: for checks of the tracer.
    """
    inside = Path(__file__).parent / "inside"
    # Under a name of its own: the traced repository may be this one.
    parts = [(name, (inside / f"{name}.py").read_text().replace(_PACKAGE, "cwm_tracer")) for name in _PARTS]
    if more:
        parts.insert(-1, ("more", more.replace(_PACKAGE, "cwm_tracer")))
    return f"PARTS = {parts!r}\n{_LOADER}"


if __name__ == "__main__":
    sys.stdout.write(one_file())
