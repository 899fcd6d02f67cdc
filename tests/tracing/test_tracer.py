"""The tracer sees what an independent, slow recorder sees, on every Python at hand, and changes nothing."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cwm_env.tracing import Place, trace
from cwm_env.tracing.tracer import STARTER, framed, one_file
from tests.tracing.programs import program

CHECK = Path(__file__).with_name("check.py")
VERSIONS = ("3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")


def interpreters() -> Iterator[str]:
    """Ours, and one of each other version that pyenv or uv has installed, or that is on ``PATH``."""
    yield sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    uv = Path.home() / ".local" / "share" / "uv" / "python"
    for version in VERSIONS:
        if version != f"{sys.version_info.major}.{sys.version_info.minor}":
            installed = [*pyenv.glob(f"{version}.*/bin/python"), *uv.glob(f"cpython-{version}.*/bin/python")]
            found = str(installed[0]) if installed else shutil.which(f"python{version}")
            if found:
                yield found


PYTHONS = list(interpreters())


def compare(python: str, engine: str, seeds: range, kind: str = "programs") -> int:
    run = [python, str(CHECK), kind, engine, *map(str, seeds)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=250)
    if "No such file or directory" in done.stderr or "version `" in done.stderr or "command not found" in done.stderr:
        pytest.skip(f"{python} does not run")
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["seed"] for r in results] == list(seeds)
    for result in results:
        assert not result["differences"], result
        assert result["events"] == result["expected"]
    return sum(result["events"] for result in results)


@pytest.mark.parametrize("python", PYTHONS)
def test_every_variable_of_every_event_is_what_a_slow_recorder_saw(python: str) -> None:
    assert compare(python, "settrace", range(1000, 1150)) > 5000


@pytest.mark.parametrize("python", PYTHONS)
def test_monitoring_gives_the_events_of_settrace(python: str) -> None:
    has = subprocess.run([python, "-c", "import sys; sys.exit(not hasattr(sys, 'monitoring'))"], check=False)
    if has.returncode:
        pytest.skip("this Python has no sys.monitoring")
    assert compare(python, "monitoring", range(2000, 2150)) > 5000


@pytest.mark.parametrize("starter", [False, True])
def test_the_tracer_is_one_file_that_runs_by_itself_or_comes_on_standard_input(tmp_path: Path, starter: bool) -> None:
    file = tmp_path / "tracer.py"
    file.write_text(one_file())
    request = {"mode": "program", "source": "print(input())", "file": "p.py", "roots": ["p.py"]}
    argv = [sys.executable, "-I", "-c", STARTER] if starter else [sys.executable, "-I", str(file)]
    given = (framed(one_file()) if starter else b"") + framed(json.dumps(request)) + b"hello"
    log = subprocess.run(argv, input=given, capture_output=True, check=True).stdout.decode()
    output = json.loads(next(line for line in log.splitlines() if line.startswith("O\t"))[2:])
    assert base64.b64decode(output["stdout"]) == b"hello\n"


@pytest.mark.parametrize("seed", range(0, 40, 8))
def test_traced_and_untraced_runs_print_and_end_alike(seed: int, place: Place) -> None:
    from cwm_env.tracing.rawlog import Ending
    from cwm_env.tracing.stream import record

    source = (
        program(seed)
        + "import sys\ndef main():\n    print(f())\n    print(count, file=sys.stderr)\n    return rec(1, f())\n"
    )
    request = {"mode": "function", "source": source, "file": "p.py", "module": "p", "entries": ["p.py", "main", 1]}

    def run(**more: object) -> Ending:
        return record(request | {"roots": ["p.py"]} | more, place, 30)[1]

    traced, plain = run(), run(trace=False)
    assert (traced.stdout, traced.stderr, traced.exit_code) == (plain.stdout, plain.stderr, plain.exit_code)
    assert plain.exit_code in (0, 1)


HOSTILE = """
import os, sys, time
class Hangs:
    def __repr__(self):
        while True: pass
class Raises:
    def __repr__(self):
        raise SystemExit(9)
class Recurses:
    def __repr__(self):
        return repr(self)
class Lies:
    def __repr__(self):
        return '..'
class Dots(str):
    pass
class Writes:
    def __repr__(self):
        print('written')
        os.write(1, b'written')
        STATE.append(1)
        return 'w'
class Meta(type):
    def __getattribute__(cls, name):
        STATE.append(name)
        return type.__getattribute__(cls, name)
    def __eq__(cls, other):
        STATE.append('eq')
        return True
    __hash__ = type.__hash__
class Metered(metaclass=Meta):
    pass
class Watched(metaclass=Meta):
    def __getattribute__(self, name):
        STATE.append(name)
        return object.__getattribute__(self, name)
    @property
    def __class__(self):
        STATE.append('class')
        return int
    def __eq__(self, other):
        STATE.append('eq')
        return True
    def __del__(self):
        STATE.append('del')
class Items(list):
    def __iter__(self):
        STATE.append('iter')
        return iter(())
    def __len__(self):
        STATE.append('len')
        return 0
STATE = []
def f():
    a, b, c, d, e = Hangs(), Raises(), Recurses(), Lies(), Writes()
    held = [a, b, c, d, e]
    table = {'x': (a, {'y': b})}
    w = Watched()
    both = [w, w]
    other = Metered()
    other = items = [other]
    items = Items([1, 2])
    dots = Dots('..')
    loop = []
    loop.append(loop)
    huge = 10 ** 100000
    long = 'x' * 10 ** 6
    many = list(range(10 ** 5))
    deep = []
    for _ in range(200):
        deep = [deep]
    done = 1
    return list(STATE)
"""


def test_a_hostile_repr_neither_breaks_nor_changes_the_run(place: Place) -> None:
    for in_process in (False, True):
        made = trace(HOSTILE, in_process=in_process, place=place, timeout=20)
        assert made.value == "[]"
        assert made.stdout == made.stderr == ""
        at = max(
            i for i, frame in enumerate(made.frames) if frame.source == "    return list(STATE)\n" and frame.locals
        )
        last = made.resolved[at]
        assert last["a"] == "<program.Hangs object>"
        assert last["held"].startswith("[<program.Hangs object>, <program.Raises object>, ")
        assert last["dots"] == "'..'"
        assert last["items"] == "[1, 2]"
        assert last["loop"] == "[[...]]"
        assert last["huge"].startswith("<int of ") and last["long"].endswith(" chars>")
        assert last["many"].endswith("items>]") and "<+1 items>" in last["deep"]
        assert all(len(text) < 2100 for text in last.values())


def test_objects_live_no_longer_than_they_do_untraced() -> None:
    source = """
import weakref
class Thing: pass
def empty(things, seen):
    del things[:]
    return seen()
def f():
    thing = Thing()
    things = [thing]
    seen = weakref.ref(thing)
    thing = None
    rows = [things]
    return empty(things, seen)
"""
    assert trace(source, in_process=True).value == "None"


def test_addresses_are_left_out_and_traces_repeat() -> None:
    source = """
class A: pass
def f():
    a = A()
    b = f
    c = a.__init__
    d = iter([1])
    e = lambda: 0
    return [a, print, len]
"""
    first, second = (trace(source, in_process=True) for _ in range(2))
    assert first.to_cwm() == second.to_cwm()
    assert "0x" not in first.to_cwm()


def test_threads_have_traces_of_their_own() -> None:
    source = """
import threading
from collections.abc import Iterator
def work(n, out):
    for i in range(n):
        out.append(i)
def f():
    out = []
    threads = [threading.Thread(target=work, args=(50, out)) for _ in range(3)]
    for t in threads: t.start()
    for t in threads: t.join()
    return len(out)
"""
    made = trace(source, in_process=True)
    assert made.value == "150"
    assert [other.frames[0].function.rpartition(".")[2] for other in made.others] == ["work"] * 3
    assert all(len(other.frames) == 103 and other.complete for other in made.others)


def test_a_fork_of_the_program_is_not_recorded(place: Place) -> None:
    source = """
import os
def f():
    pid = os.fork()
    if pid == 0:
        x = 1
        os._exit(0)
    os.waitpid(pid, 0)
    return 'done'
"""
    made = trace(source, place=place)
    assert made.value == "'done'"
    assert not any("x" in (frame.locals or {}) for frame in made.frames)


def test_a_trace_that_is_cut_for_its_length_leaves_the_next_one_clean() -> None:
    from cwm_env.tracing.inside.modes import engine
    from cwm_env.tracing.inside.recorder import Policy, Recorder
    from cwm_env.tracing.rawlog import read_log

    source = """
def long(n):
    for i in range(n):
        short(i)
    return n
def short(i):
    return i
def run():
    long(3000)
    short(1)
"""
    for kind in ("settrace", ""):
        read, write = os.pipe()
        request = {"roots": ["cut.py"], "max_frames": 1500, "per_function": 2}
        recorder = Recorder(Policy(request), write)
        recorder.sources.given("cut.py", source)
        namespace: dict[str, Any] = {}
        exec(compile(source, "cut.py", "exec"), namespace)
        feeder = engine(recorder, kind)
        pieces: list[bytes] = []
        reader = threading.Thread(target=lambda: pieces.extend(iter(lambda: os.read(read, 65536), b"")))  # noqa: B023
        reader.start()
        feeder.start()
        namespace["long"](3000)
        namespace["short"](1)
        feeder.stop()
        recorder.close()
        os.close(write)
        reader.join()
        traces, _ = read_log(pieces)
        assert [trace.status for trace in traces] == ["length", "", ""]
        assert [[frame.kind for frame in trace.frames] for trace in traces[1:]] == [["call", "line", "return"]] * 2
