"""Compares the tracer with the slow recorder on one interpreter: ``python check.py KIND ENGINE SEED...``.

``KIND`` is the module whose programs are run: ``programs`` or ``hot_programs``.

Runs on any Python since 3.6; prints one line of JSON for each seed, with the differences.
"""

import gc
import json
import os
import re
import sys
import tempfile
from typing import Any, Dict, List

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def load() -> Any:
    """The tracer without the package around it: an old Python cannot import that."""
    from types import ModuleType

    for name in ("cwm_env", "cwm_env.tracing"):
        package = sys.modules[name] = ModuleType(name)
        package.__path__ = [os.path.join(sys.path[1], *name.split("."))]
    from cwm_env.tracing.inside import lines, modes

    lines._OFTEN = 1  # so that a line that runs twice is one whose plan is used
    return modes


def traced(modes: Any, engine: str, source: str, values: Dict[str, int]) -> List[Any]:
    """Events of the tracer, resolved, in the slow recorder's own form."""
    recorder_module = sys.modules["cwm_env.tracing.inside.recorder"]
    file = tempfile.TemporaryFile()
    request: Dict[str, Any] = {"mode": "function", "source": source, "file": "program.py"}
    request.update({"module": "program", "roots": ["program.py"], "entries": ["program.py", "f", 0], "engine": engine})
    request.update(values)
    recorder = recorder_module.Recorder(recorder_module.Policy(request), os.dup(file.fileno()))
    sys.stderr = open(os.devnull, "w")
    try:
        modes.run(request, recorder)
    finally:
        sys.stderr = sys.__stderr__
        recorder.close()
    file.seek(0)
    return resolve(file.read().decode())


def resolve(log: str) -> List[Any]:
    """The log's events with every variable in full."""
    names: Dict[str, str] = {}
    stack: List[Any] = []
    events: List[Any] = []
    for line in log.splitlines():
        kind, rest = line[0], line[1:].split("\t")
        if kind == "K":
            content = json.loads(rest[1])
            names[str(content["id"])] = content["name"].rpartition(".")[2]
        elif kind == "c":
            stack.append([names[rest[0]], json.loads(rest[2])])
            events.append(["call", int(rest[1]), stack[-1][0], dict(stack[-1][1])])
        elif kind == "l":
            shown = json.loads(rest[1])
            stack[-1][1] = {k: stack[-1][1][k] if v == ".." else v for k, v in shown.items()}
            events.append(["line", int(rest[0]), stack[-1][0], dict(stack[-1][1])])
        elif kind in "rx" and len(rest) == 2:
            events.append(["return" if kind == "r" else "exception", int(rest[0]), stack[-1][0], json.loads(rest[1])])
            if kind == "r":
                stack.pop()
    return events


def main() -> None:
    modes = load()
    gc.disable()  # when it lets go of what is in a cycle differs from run to run, and a finalizer shows it
    import slow  # type: ignore[import-not-found]

    values = sys.modules["cwm_env.tracing.inside.values"]
    programs = __import__(sys.argv[1])
    engine, seeds = sys.argv[2], [int(seed) for seed in sys.argv[3:]]
    for seed in seeds:
        bounds = {} if seed % 3 else {"chars": 40, "items": 3, "depth": 2}
        source = programs.program(seed)
        ours = traced(modes, engine, source, bounds)
        module: Dict[str, Any] = {"__name__": "program"}
        code = compile(source, "program.py", "exec")
        exec(code, module)
        sys.modules["program"] = sys.modules["slow"]
        full = slow.record(
            module["f"],
            lambda c: c.co_filename == "program.py",
            lambda value, bounds=bounds: values.Renderer(**bounds).text(value),
            "f",
        )
        theirs = [list(event) for event in full]
        if hasattr(sys, "addaudithook"):
            ours = without_executed(ours)
        found = [(i, a, b) for i, (a, b) in enumerate(zip(ours, theirs)) if a != b][:2]
        print(json.dumps({"seed": seed, "events": len(ours), "expected": len(theirs), "differences": found}))


def without_executed(events: List[Any]) -> List[Any]:
    """Leave out what ran by exec and eval: the slow recorder does not know their source."""
    depth, kept = 0, []
    for event in events:
        inside = event[2] == "<module>"
        depth += inside and event[0] == "call"
        if not depth:
            kept.append(event)
        depth -= inside and event[0] == "return"
    return kept


if __name__ == "__main__":
    main()
