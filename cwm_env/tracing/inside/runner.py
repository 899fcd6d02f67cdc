"""Runs a program in a child process and sends its trace, its output and its end to standard output.

The request comes first on standard input: its length in ten digits, then JSON. What follows is the program's own
standard input. ``{"mode", "trace": bool, ...}``; the modes stand in ``modes.py``, the rest in ``recorder.Policy``.
After the log's own lines come ``O<tab>{"stdout", "stderr", "cut"}`` and ``X<tab>{"exit_code", ...}``.
"""

import base64
import fcntl
import json
import os
import sys
import tempfile
from typing import Any, Dict

from cwm_env.tracing.inside.modes import run
from cwm_env.tracing.inside.recorder import Policy, Recorder

_HIGH = 300  # programs count and close the low descriptors
_OUTPUT = 1 << 20


def main() -> None:
    """Read the request, run, and exit with 0 whatever the program did."""
    request = json.loads(_exactly(int(_exactly(10))).decode())
    channel = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    child = os.fork()
    if child == 0:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        out.close()
        err.close()
        _child(request, channel)
    _, status = os.waitpid(child, 0)
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
    limit = int(request.get("output", _OUTPUT))
    cut = max(os.fstat(out.fileno()).st_size, os.fstat(err.fileno()).st_size) > limit
    output = {"stdout": _start_of(out, limit), "stderr": _start_of(err, limit), "cut": cut}
    _send(channel, "\nO\t{}\nX\t{}\n".format(json.dumps(output), json.dumps({"exit_code": code})))


def _child(request: Dict[str, Any], channel: int) -> None:
    """The program's own process; never returns."""
    code = 70
    recorder = Recorder(Policy(request), channel)
    try:
        code = run(request, recorder)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                code = code or 120
        recorder.close()
        os._exit(code & 255)


def _exactly(size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            raise SystemExit("the request ended early")
        data += part
    return data


def _start_of(file: Any, limit: int) -> str:
    file.seek(0)
    return base64.b64encode(file.read(limit)).decode()


def _send(descriptor: int, text: str) -> None:
    data = text.encode()
    while data:
        data = data[os.write(descriptor, data) :]
