"""The tracer as one file: what is sent into a sandbox and run with the image's own Python.

    python -m cwm_env.tracing.tracer > tracer.py

It needs the standard library alone and any CPython since 3.6. The parts lie in ``inside/``, one idea each.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

_PARTS = ("types_of", "simple_repr", "values", "activation", "sources", "recorder", "settrace", "monitor", "modes")
_LAST = "runner"
_LOADER = '''\
import sys
from types import ModuleType
package = sys.modules["cwm_tracer"] = ModuleType("cwm_tracer")
package.__path__ = []
for name, text in PARTS:
    module = sys.modules["cwm_tracer." + name] = ModuleType("cwm_tracer." + name)
    module.__package__ = "cwm_tracer"
    exec(compile(text, "<cwm_tracer/" + name + ".py>", "exec"), module.__dict__)
module.main()
'''


@cache
def one_file() -> str:
    """The text of the file: a program that reads a request on standard input (see ``inside/runner.py``)."""
    inside = Path(__file__).parent / "inside"
    parts = [(name, (inside / f"{name}.py").read_text()) for name in (*_PARTS, _LAST)]
    return f"PARTS = {parts!r}\n{_LOADER}"


if __name__ == "__main__":
    sys.stdout.write(one_file())
