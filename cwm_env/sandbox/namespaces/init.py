"""Pid 1 of a sandbox: starts processes when its client asks, reaps what dies, and kills on request."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import time
from collections.abc import Iterable
from typing import Any, NoReturn

from cwm_env.sandbox.namespaces import ids, libc, privileges, seccomp, wire

_FILTER = seccomp.build_filter() if libc.MACHINE in ("x86_64", "aarch64") else b""
_STATUS = struct.Struct("!i")
_KILL_SECONDS = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")


def serve(control: socket.socket) -> NoReturn:
    """Answer requests until the client closes the socket."""
    exits: dict[int, int] = {}
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poller = select.poll()
    poller.register(control, select.POLLIN)
    poller.register(wake_read, select.POLLIN)
    while True:
        for descriptor, _ in poller.poll():
            if descriptor == wake_read:
                os.read(wake_read, 4096)
                _reap(exits)
                continue
            try:
                request, _ = wire.receive(control)
            except (EOFError, OSError):
                os._exit(0)
            try:
                _answer(control, request, exits)
            except (OSError, ValueError) as error:
                wire.send(control, {"error": str(error)})


def _answer(control: socket.socket, request: dict[str, Any], exits: dict[int, int]) -> None:
    if request["do"] == "spawn":
        _spawn(control, request, exits)
    elif request["do"] == "signal":
        # A leader that was not reaped yet still holds its id, so no other process can be meant.
        if request["pid"] in exits:
            _signal_group(request["pid"], request["signal"])
        wire.send(control, {})
    elif request["do"] == "kill":
        wire.send(control, {"killed": _kill(request["keep"], request["after"], exits)})
    else:
        raise ValueError(f"unknown request {request['do']!r}")


def _spawn(control: socket.socket, request: dict[str, Any], exits: dict[int, int]) -> None:
    """Start a program; its streams' far ends go to the client. ``exits`` keeps where its exit code is written."""
    user = ids.look_up(request["user"])
    # Standard input is a socket, which nobody can open through /proc/PID/fd to write into a shell's commands.
    in_read, in_write = (end.detach() for end in socket.socketpair())
    pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
    (out_read, out_write), (err_read, err_write), (exit_read, exit_write) = pipes
    mine, theirs = [in_read, out_write, err_write], [in_write, out_read, err_read, exit_read]
    try:
        for descriptor in (out_write, err_write):
            os.fchown(descriptor, *((user.uid, user.gid) if _many_ids() else (0, 0)))
        pid = os.fork()
        if pid == 0:
            _execute(request, user, mine)
    except OSError:
        os.close(exit_write)
        for descriptor in (*mine, *theirs):
            os.close(descriptor)
        raise
    exits[pid] = exit_write
    wire.send(control, {"pid": pid}, theirs)
    for descriptor in (*mine, *theirs):
        os.close(descriptor)


def _many_ids() -> bool:
    with open("/proc/self/uid_map", "rb") as file:
        return int(file.read().split()[2]) > 1


def _execute(request: dict[str, Any], user: ids.User, streams: list[int]) -> NoReturn:
    """In the child: become the program. What goes wrong is said on standard error, as a shell would."""
    code = 127
    try:
        signal.set_wakeup_fd(-1)
        os.setsid()
        for target, source in enumerate(streams):
            os.dup2(source, target)
        os.closerange(3, 1 << 16)
        ids.become(user)
        privileges.no_new_privileges()
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        libc.seccomp(_FILTER)
        os.chdir(request["cwd"])
        os.execvpe(request["argv"][0], request["argv"], {"HOME": user.home, **request["env"]})  # noqa: S606
    except PermissionError as error:
        code = 126
        os.write(2, f"{request['argv'][0]}: {error.strerror}\n".encode())
    except OSError as error:
        os.write(2, f"{error.filename or request['argv'][0]}: {error.strerror}\n".encode())
    except BaseException as error:
        os.write(2, f"{request['argv'][0]}: {error}\n".encode())
    os._exit(code)


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass


def _reap(exits: dict[int, int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        exit_write = exits.pop(pid, None)
        if exit_write is not None:
            code = os.waitstatus_to_exitcode(status)
            try:
                os.write(exit_write, _STATUS.pack(code if code >= 0 else 128 - code))
            except OSError:
                pass  # the client has closed its end: it does not want to know
            os.close(exit_write)


def _kill(keep: list[int], after: float | None, exits: dict[int, int]) -> int:
    """Kill all that is not kept and did not start before ``after``; returns how many, once they are gone.

    What is kept stands still meanwhile, and all that will die is stopped first: so neither a loop in a shell that is
    kept nor a fork bomb starts anew what was just killed.
    """
    first_tick = -1 if after is None else int(after * _TICKS)
    deadline = time.monotonic() + _KILL_SECONDS
    _signal_all(keep, signal.SIGSTOP)
    try:
        seen: set[int] = set()
        while fresh := _started(first_tick) - {1, *keep} - seen:
            _signal_all(fresh, signal.SIGSTOP)
            seen |= fresh
        while doomed := _started(first_tick) - {1, *keep}:
            if time.monotonic() > deadline:
                raise OSError(f"{len(doomed)} processes would not die")
            if not keep and after is None:
                os.kill(-1, signal.SIGKILL)  # in one go
            _signal_all(doomed, signal.SIGKILL)
            seen |= doomed
            _reap(exits)
            time.sleep(0.001)
        return len(seen)
    finally:
        _signal_all(keep, signal.SIGCONT)


def _signal_all(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def _started(first_tick: int) -> set[int]:
    """Ids of the processes that started at ``first_tick`` (clock ticks since boot) or later and are not zombies."""
    found = set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(fields[19]) >= first_tick and fields[0] not in (b"Z", b"X"):  # starttime and state, proc_pid_stat(5)
            found.add(int(name))
    return found
