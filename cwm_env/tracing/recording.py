"""``trace``: run a function or a program and get its trace."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cwm_env.errors import InputError
from cwm_env.tracing import context as contexts
from cwm_env.tracing.errors import Refused
from cwm_env.tracing.rawlog import Ending, RawTrace, read_log
from cwm_env.tracing.stream import Place, record
from cwm_env.tracing.traces import Trace

_FILE = "program.py"
_WHY = {
    "time": "it did not end in time",
    "events": "it made too many events",
    "bytes": "its trace grew too large",
    "lost": "the recording was lost on the way: the program set a trace function, or used up its stack",
    "killed": "its process was killed",
    "exit": "its process ended at once, past every handler",
}


@dataclass(frozen=True, slots=True)
class TraceLimits:
    """What one recording may hold."""

    max_events: int = 1_000_000
    """Frames, of all threads together."""
    max_bytes: int = 1 << 30
    """Bytes of the tracer's log."""
    max_depth: int = 1000
    """Calls within calls; a deeper one is stepped over."""
    chars: int = 2000
    """Characters of one value; what is cut says so."""
    items: int = 200
    """Items of one container."""
    depth: int = 12
    """Containers within containers."""


def trace(
    source: str,
    entry: str = "f",
    args: Sequence[object] = (),
    kwargs: Mapping[str, object] | None = None,
    *,
    call: str | None = None,
    in_process: bool = False,
    place: Place | None = None,
    limits: TraceLimits | None = None,
    timeout: float = 30.0,
) -> Trace:
    """Execute ``source``, then call ``entry`` and record it.

    The call is made by a ``main`` that is added at the end of the source, as CRUXEval has it; the trace begins there.
    What the program prints and how it ends is in the trace, an exception of the program's is never raised here.

    Args:
        call: the call as an expression, instead of ``entry``, ``args`` and ``kwargs``.
        in_process: run it in this process, without a sandbox: for a source that is trusted.
        place: the sandbox backend, image and Python; None is the default backend with the image ``python``.
        timeout: seconds; not watched in process.

    Raises:
        Refused: there is no whole trace; says why.
        InputError: the call is not one expression, or an argument is no literal.
        InfrastructureError: the sandbox failed.
    """
    text = call or contexts.call_text(entry, args, kwargs or {})
    program, main, line = contexts.with_main(source, text)
    request = {"mode": "function", "source": program, "entries": [_FILE, main, line]}
    context = contexts.mark(program, line)
    return _record(request, context, in_process, place, limits, timeout, b"")


def trace_program(
    source: str,
    stdin: bytes = b"",
    argv: Sequence[str] = (),
    *,
    place: Place | None = None,
    limits: TraceLimits | None = None,
    timeout: float = 30.0,
) -> Trace:
    """Run a whole program as ``__main__`` in a sandbox, with its standard input, and record it.

    Arguments and errors are those of ``trace``.
    """
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    request = {"mode": "program", "source": source, "entries": [_FILE, "<module>", 1], "argv": list(argv)}
    return _record(request, contexts.mark_program(source), False, place, limits, timeout, stdin)


def _record(
    request: dict[str, Any],
    context: str,
    in_process: bool,
    place: Place | None,
    limits: TraceLimits | None,
    timeout: float,
    stdin: bytes,
) -> Trace:
    request |= {"file": _FILE, "module": "program", "roots": [_FILE], **asdict(limits or TraceLimits())}
    if in_process:
        traces, ending = _here(request)
    else:
        traces, ending = record(request, place or Place.default(), timeout, stdin)
    if ending.refusal is not None:
        raise Refused(*ending.refusal)
    made = [_trace(context, raw, ending) for raw in traces]
    main = next((i for i, raw in enumerate(traces) if raw.thread == 0), None)
    if main is None:
        why = ending.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise Refused("entry", why or "the entry was never called")
    status = traces[main].status or ""
    if status:
        raise Refused(status, f"{_WHY.get(status, status)} ({len(made[main].frames)} frames were recorded)")
    others = tuple(made[:main] + made[main + 1 :])
    return made[main] if not others else _with_others(made[main], others)


def _with_others(trace: Trace, others: tuple[Trace, ...]) -> Trace:
    return Trace(
        trace.context, trace.frames, trace.complete, trace.stdout, trace.stderr, trace.exit_code, others, trace.metadata
    )


def _trace(context: str, raw: RawTrace, ending: Ending) -> Trace:
    return Trace(
        context,
        tuple(raw.frames),
        complete=raw.status == "",
        stdout=ending.stdout.decode("utf-8", "replace"),
        stderr=ending.stderr.decode("utf-8", "replace"),
        exit_code=ending.exit_code,
        metadata={"python": "{}.{}.{}".format(*sys.version_info)} if ending.exit_code is None else {},
    )


def _here(request: dict[str, Any]) -> tuple[list[RawTrace], Ending]:
    """Record in this process. What the program prints goes where this process prints."""
    from cwm_env.tracing.inside.modes import run
    from cwm_env.tracing.inside.recorder import Policy, Recorder

    before = sys.gettrace(), sys.modules.get(request["module"])
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
        recorder = Recorder(Policy(request), descriptor)
        try:
            _quietly(lambda: run(request, recorder))
        finally:
            recorder.close()
            os.close(descriptor)
            sys.settrace(before[0])
            _restore(request["module"], before[1])
        return read_log([log.read_bytes()])


def _quietly(run: Callable[[], int]) -> None:
    with contextlib.suppress(SystemExit):  # the program's own way to end
        run()


def _restore(name: str, module: Any) -> None:
    if module is None:
        sys.modules.pop(name, None)
    else:
        sys.modules[name] = module


__all__ = ["InputError", "TraceLimits", "trace", "trace_program"]
