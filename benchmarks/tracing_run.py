"""One recorder on one workload, in this process: ``python tracing_run.py RECORDER WORKLOAD ROUNDS OUTPUT``.

Prints JSON: events, seconds of CPU time, bytes written, and the growth of memory. Runs in the peers' environment,
which does not hold this package: the tracer's parts are imported past it.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
for package in ("cwm_env", "cwm_env.tracing"):  # their __init__ needs what is not here
    found = sys.modules[package] = ModuleType(package)
    found.__path__ = [os.path.join(ROOT, *package.split("."))]

SCALARS = """
def f(n):
    a, b, c, d, e = 1, 2, 0.5, "x", None
    for i in range(n):
        a = i * 3
        b = a + 7
        if b & 1:
            c = b / 2
        d = str(a)
        e = a > b
    return a
"""
CONTAINERS = """
def f(n):
    xs, ys = list(range(60)), [str(i) for i in range(40)]
    d, names = {i: i * i for i in range(40)}, {"k%d" % i: "v" for i in range(20)}
    grid = [[0] * 8 for _ in range(8)]
    total = 0
    for i in range(n):
        k = i % 40
        d[k] = i
        xs[k] = total
        total = (total + xs[k // 2]) % 1000
        ys.append(str(k))
        ys.pop(0)
        if d[k] > 5:
            total -= 1
        grid[k % 8][i % 8] = i
    return total
"""
WORKLOADS = {"scalars": SCALARS, "containers": CONTAINERS}
FILE = "workload.py"


def load(name: str) -> Callable[[int], Any]:
    """The workload's function, its source known to ``linecache``."""
    import linecache

    source = WORKLOADS[name]
    linecache.cache[FILE] = (len(source), None, source.splitlines(True), FILE)
    namespace: dict[str, Any] = {"__name__": "workload", "__file__": FILE}
    exec(compile(source, FILE, "exec"), namespace)
    return namespace["f"]  # type: ignore[no-any-return]


def ours(function: Callable[[int], Any], rounds: int, output: str, engine: str) -> tuple[int, float]:
    """This project's tracer."""
    from cwm_env.tracing.inside.modes import engine as make
    from cwm_env.tracing.inside.recorder import Policy, Recorder

    recorder = Recorder(Policy({"roots": [FILE], "entries": [FILE, "f", 0]}), os.open(output, os.O_WRONLY | os.O_CREAT))
    recorder.sources.given(FILE, "".join(WORKLOADS[sys.argv[2]]))
    feeder = make(recorder, engine)
    begin = time.process_time()
    feeder.start()
    function(rounds)
    feeder.stop()
    recorder.close()
    return recorder.events, time.process_time() - begin


class Straightforward:
    """The obvious recorder: ``repr`` of all locals at every event; with ``text``, written as the format has it."""

    def __init__(self, output: Any, text: bool) -> None:
        self.output, self.text = output, text
        self.events = 0
        self.last: dict[Any, dict[str, str]] = {}

    def __call__(self, frame: Any, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename != FILE:
            return None
        self.events += 1
        if event in ("call", "line"):
            shown = {name: repr(value) for name, value in frame.f_locals.items()}
            if self.text:
                last = self.last.get(frame, {})
                state = json.dumps({name: ".." if last.get(name) == text else text for name, text in shown.items()})
                self.last[frame] = shown
                self.output.write("%s%s%d\n" % (event, state, frame.f_lineno))
        else:
            value = repr(arg)
            if self.text:
                self.output.write("%s%s%d\n" % (event, json.dumps(value), frame.f_lineno))
        return self


def straightforward(function: Callable[[int], Any], rounds: int, output: str, text: bool) -> tuple[int, float]:
    """The obvious recorder."""
    with open(output, "w") as file:
        recorder = Straightforward(file, text)
        begin = time.process_time()
        sys.settrace(recorder)
        function(rounds)
        sys.settrace(None)
        return recorder.events, time.process_time() - begin


def peer(name: str, function: Callable[[int], Any], rounds: int, output: str) -> tuple[int, float]:
    """PySnooper, snoop or hunter, writing what changes to a file. They do not count events: those are ours."""
    with open(output, "w") as file:
        if name.startswith("PySnooper"):
            import pysnooper  # type: ignore[import-not-found,unused-ignore]

            longest = None if name.endswith("whole") else 100
            recorded = pysnooper.snoop(file, color=False, max_variable_length=longest)(function)
        elif name == "snoop":
            import snoop  # type: ignore[import-not-found,unused-ignore]

            recorded = snoop.Config(out=file, color=False).snoop(function)
        else:
            import hunter  # type: ignore[import-not-found,unused-ignore]

            def recorded(rounds: int) -> None:
                with hunter.trace(filename=FILE, action=hunter.VarsSnooper(stream=file, force_colors=False)):
                    function(rounds)

        begin = time.process_time()
        recorded(rounds)
        return 0, time.process_time() - begin


def main() -> None:
    recorder, workload, rounds, output = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    function = load(workload)
    function(10)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if recorder in ("settrace", "monitoring"):
        events, seconds = ours(function, rounds, output, recorder)
    elif recorder.startswith("straightforward"):
        events, seconds = straightforward(function, rounds, output, recorder.endswith("text"))
    elif recorder == "untraced":
        begin = time.process_time()
        function(rounds)
        events, seconds = 0, time.process_time() - begin
    else:
        events, seconds = peer(recorder, function, rounds, output)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    size = os.path.getsize(output) if os.path.isfile(output) else 0
    print(json.dumps({"events": events, "seconds": seconds, "bytes": size, "grown_kib": grown}))


if __name__ == "__main__":
    main()
