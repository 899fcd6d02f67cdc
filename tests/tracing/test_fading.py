"""What the recorder leaves behind where it stops in the middle of a function."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.tracing.test_tracer import PYTHONS

PROGRAM = """
import os, sys, types
root = sys.argv[1]
for name in ("cwm_env", "cwm_env.tracing"):
    package = sys.modules[name] = types.ModuleType(name)
    package.__path__ = [os.path.join(root, *name.split("."))]
from cwm_env.tracing.inside.modes import engine
from cwm_env.tracing.inside.recorder import Policy, Recorder
SOURCE = '''
import weakref
class Thing: pass
def outer():
    held = Thing()
    seen = weakref.ref(held)
    inner()
    held = None
    return seen() is None
def inner():
    thing = Thing()
    seen = weakref.ref(thing)
    for i in range(3000):
        pass
    thing = None
    assert seen() is None
'''
request = {"roots": ["p.py"], "entries": ["p.py", "outer", 1], "max_events": 2000}
recorder = Recorder(Policy(request), os.open(os.devnull, os.O_WRONLY))
recorder.sources.given("p.py", SOURCE)
module = {}
exec(compile(SOURCE, "p.py", "exec"), module)
feeder = engine(recorder, sys.argv[2])
feeder.start()
freed = module["outer"]()
assert recorder.events > 1000 and not recorder.on
feeder.stop()
sys.exit(not freed)
"""


@pytest.mark.parametrize("kind", ["settrace", ""])
@pytest.mark.parametrize("python", PYTHONS)
def test_objects_die_as_untraced_after_the_limit_of_events(python: str, kind: str) -> None:
    """A weak reference tells of an object that a stale dict of variables keeps."""
    root = str(Path(__file__).parents[2])
    done = subprocess.run([python, "-c", PROGRAM, root, kind], capture_output=True, text=True, timeout=60)
    if "No such file or directory" in done.stderr or "version `" in done.stderr:
        pytest.skip(f"{python} does not run")
    assert done.returncode == 0, done.stderr
