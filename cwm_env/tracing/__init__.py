"""Execution traces in the Code World Model's format: recording, reading, judging, and stepping through them.

>>> from cwm_env.tracing import trace
>>> made = trace("def f(x):\\n    return x + 1\\n", args=(1,), in_process=True)
>>> made.value
'2'
"""

from cwm_env.tracing.errors import FormatError, Refused, TraceError
from cwm_env.tracing.format import Frame
from cwm_env.tracing.recording import TraceLimits, trace, trace_program
from cwm_env.tracing.stream import Place
from cwm_env.tracing.traces import Trace

__all__ = [
    "FormatError",
    "Frame",
    "Place",
    "Refused",
    "Trace",
    "TraceError",
    "TraceLimits",
    "trace",
    "trace_program",
]
