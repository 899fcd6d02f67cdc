"""What the recorder leaves behind where it stops in the middle of a function, and a program with its own tracer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.tracing.test_tracer import PYTHONS

HEAD = """
import os, sys, types
root = sys.argv[1]
for name in ("cwm_env", "cwm_env.tracing"):
    package = sys.modules[name] = types.ModuleType(name)
    package.__path__ = [os.path.join(root, *name.split("."))]
def recorded(source, entry, most):
    # What a function returns under trace, up to so many events, and what has recorded it.
    from cwm_env.tracing.inside import modes, recorder
    request = {"roots": ["p.py"], "entries": ["p.py", entry, 1], "max_events": most}
    made = recorder.Recorder(recorder.Policy(request), os.open(os.devnull, os.O_WRONLY))
    made.sources.given("p.py", source)
    module = {}
    exec(compile(source, "p.py", "exec"), module)
    feeder = modes.engine(made, sys.argv[2])
    feeder.start()
    value = module[entry]()
    feeder.stop()
    return value, made
"""
PROGRAM = (
    HEAD
    + """
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
freed, made = recorded(SOURCE, "outer", 2000)
assert made.events > 1000 and not made.on
sys.exit(not freed)
"""
)
LIMIT_ANYWHERE = (
    HEAD
    + """
from cwm_env.tracing.inside import monitor, recorder, settrace
SOURCE = '''
import weakref
class Thing:
    def __init__(self, value):
        self.value = value
def get(thing):
    held = thing
    return held
def f():
    seen, wheel = [], [None] * 3
    for i in range(300):
        thing = Thing(i)
        wheel[i % 3] = thing
        seen.append(weakref.ref(thing))
        get(thing)
    return [found().value for found in seen if found() is not None]
'''
for limit in range(500, 540):
    recorder.FLUSH = settrace.FLUSH = monitor.FLUSH = limit  # so that it is noticed at that very event
    alive, made = recorded(SOURCE, "f", limit)
    assert alive == [297, 298, 299], (limit, alive)
    assert not made.on
"""
)
TRACES_ITSELF = (
    HEAD
    + """
import tempfile
from cwm_env.tracing.inside import modes, recorder
SOURCE = '''
import sys
def f():
    seen = []
    def watch(frame, event, arg):
        seen.append(event)
        return watch
    sys.settrace(watch)
    g(1)
    sys.settrace(None)
    return seen
def g(x):
    y = x + 1
    return y
'''
file = tempfile.TemporaryFile()
request = {"mode": "function", "source": SOURCE, "file": "p.py", "module": "p", "roots": ["p.py"]}
request["entries"] = ["p.py", "f", 0]
made = recorder.Recorder(recorder.Policy(request), os.dup(file.fileno()))
modes.run(request, made)
made.close()
file.seek(0)
log = file.read().decode().splitlines()
assert log[-1] == "E\\t", log[-1]
returned = [line for line in log if line.startswith("r")][-1]
assert "['call', 'line', 'line', 'return']" in returned, returned
assert [line[0] for line in log].count("c") >= 2
"""
)


@pytest.mark.parametrize("kind", ["settrace", ""])
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("program", [PROGRAM, LIMIT_ANYWHERE], ids=["in the middle", "anywhere"])
def test_objects_die_as_untraced_after_the_limit_of_events(python: str, kind: str, program: str) -> None:
    """A weak reference tells of an object that a stale dict of variables keeps."""
    root = str(Path(__file__).parents[2])
    done = subprocess.run([python, "-c", program, root, kind], capture_output=True, text=True, timeout=60)
    if "No such file or directory" in done.stderr or "version `" in done.stderr:
        pytest.skip(f"{python} does not run")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("python", [p for p in PYTHONS if "3.12" in p or "3.13" in p])
def test_a_program_may_set_a_trace_function_of_its_own_where_there_is_monitoring(python: str) -> None:
    root = str(Path(__file__).parents[2])
    done = subprocess.run([python, "-c", TRACES_ITSELF, root], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
