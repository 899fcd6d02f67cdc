"""What a line is known to change is all that it changes: the tracer beside a slow one, and what runs in between."""

from __future__ import annotations

import base64
import json
import subprocess

import pytest

from cwm_env.tracing.format import Resolver
from cwm_env.tracing.rawlog import read_log
from cwm_env.tracing.tracer import STARTER, framed, one_file
from tests.tracing.test_tracer import PYTHONS, compare

READABLE = [
    python for python in PYTHONS if python == PYTHONS[0] or "3.11" in python or "3.12" in python or "3.13" in python
]
ENGINES = [(python, kind) for python in READABLE for kind in ("settrace", "monitoring")]


def has_monitoring(python: str) -> bool:
    return not subprocess.run([python, "-c", "import sys; sys.exit(not hasattr(sys, 'monitoring'))"]).returncode


@pytest.mark.parametrize(("python", "engine"), ENGINES)
def test_hot_lines_over_shared_containers_show_what_a_slow_recorder_saw(python: str, engine: str) -> None:
    if engine == "monitoring" and not has_monitoring(python):
        pytest.skip("this Python has no sys.monitoring")
    assert compare(python, engine, range(40), "hot_programs") > 8000


BETWEEN = {
    "a signal's handler": """
import signal
def f():
    seen, n = [], 0
    signal.signal(signal.SIGALRM, lambda *given: seen.append(n))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    while len(seen) < 5:
        n = 7
    signal.setitimer(signal.ITIMER_REAL, 0)
    return list(seen)
""",
    "a thread": """
import _thread, time
def work(seen):
    for _ in range(5):
        time.sleep(0.001)
        seen.append(1)
def f():
    seen, n = [], 0
    _thread.start_new_thread(work, (seen,))
    while len(seen) < 5:
        n = 7
    return list(seen)
""",
    "a finalizer": """
import gc, weakref
class Loop: pass
def f():
    gc.disable()
    seen, kept = [], [[0]]
    loop = Loop()
    loop.loop = loop
    watch = weakref.ref(loop, seen.append)
    del loop
    gc.set_threshold(100)
    gc.enable()
    for n in range(1000):
        kept.append([n])
    done = len(seen)
    assert done == 1
    return list(seen)
""",
    "a profile function": """
import sys
def f():
    seen, n = [], 0
    sys.setprofile(lambda frame, event, given: seen.append(event) if event == "c_call" else None)
    for i in range(9):
        n = len("abc")
    sys.setprofile(None)
    return list(seen)
""",
    "a function of a built-in one's name": """
def len(xs):
    xs.append(1)
def f():
    seen, n = [], 0
    for i in range(9):
        n = len(seen)
    return list(seen)
""",
    "a method in a built-in function's place": """
import builtins
def f():
    seen, n, kept = [], 0, builtins.chr
    builtins.chr = seen.append
    for i in range(9):
        n = chr(3)
    builtins.chr = kept
    return list(seen)
""",
    "an iterator that appends": """
def f():
    seen, n = [], 0
    for i in map(seen.append, [1, 2, 3, 4, 5, 6, 7, 8, 9]):
        n = 5
    return list(seen)
""",
}


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize(("python", "engine"), ENGINES)
def test_what_runs_in_between_is_seen_at_the_next_line(python: str, engine: str, between: str) -> None:
    """The last line shows the list as ``list`` then copies it."""
    if engine == "monitoring" and not has_monitoring(python):
        pytest.skip("this Python has no sys.monitoring")
    request: dict[str, object] = {
        "mode": "function",
        "source": BETWEEN[between],
        "file": "p.py",
        "module": "p",
        "roots": ["p.py"],
    }
    request |= {"entries": ["p.py", "f", 0], "engine": engine, "items": 2000, "chars": 100000}
    given = framed(one_file()) + framed(json.dumps(request))
    done = subprocess.run([python, "-c", STARTER], input=given, capture_output=True, timeout=60)
    traces, ending = read_log([done.stdout])
    assert ending.exit_code == 0 and not ending.stderr, base64.b64encode(done.stderr[-2000:])
    resolver, last = Resolver(), {}
    frames = next(trace.frames for trace in traces if not trace.thread)
    for frame in frames:
        found = resolver.feed(frame)
        if frame.kind == "line" and frame.source == "    return list(seen)\n":
            last = found
    assert last["seen"] == frames[-1].value
    assert last["seen"].count(",") >= 4 or "weakref" in last["seen"]
