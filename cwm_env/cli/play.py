"""``cwm-env play``: a person in the policy's place, with a real terminal."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markdown import Markdown

from cwm_env.cli.output import console, errors
from cwm_env.errors import InputError
from cwm_env.sandbox.base import Process
from cwm_env.sandbox.run import run
from cwm_env.trajectories import RecordEpisode, TrajectoryStore

if TYPE_CHECKING:
    from cwm_env.envs import BashEnv

# `script` owns the terminal inside the sandbox; bash's own `submit` ends the shell as well.
_SHELL = """stty rows {rows} columns {columns}; exec bash --noprofile --rcfile /dev/fd/9 -i 9<<'RC'
PS1='\\w \\$ '
submit() {{ command submit && exit; }}
RC
"""
_CHUNK = 1 << 16


@click.command()
@click.argument("task")
@click.option("--backend", default="namespaces", show_default=True, help="Where the sandbox is made.")
@click.option(
    "--out", default="trajectories.jsonl", show_default=True, type=click.Path(path_type=Path), help="Appended."
)
def play(task: str, backend: str, out: Path) -> int:
    """Work on TASK yourself, in a shell in its sandbox. Run `submit` for the verdict; `exit` gives up.

    \b
    Example:
      cwm-env play TASK
    """
    from cwm_env.envs import BashEnv

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError("play needs a terminal; for a script use `cwm-env run TASK --policy SCRIPT`")
    env = BashEnv(task, backend)
    recorded = RecordEpisode(env, TrajectoryStore(out).append, policy="person")
    try:
        with errors.status("starting"):
            recorded.reset()
        console.print(Markdown(env.task.instruction))
        console.print("\nRun `submit` when you are done, or `exit` to give up.\n", style="dim")
        if not _shell(env):
            console.print("Not submitted, so there is no verdict.")
            return 0
        with errors.status("grading"):
            _, reward, _, _, info = recorded.step("submit")
    finally:
        recorded.close()
    grade = info["grade"]
    if grade is None:
        console.print(f"No verdict: {info['error']}", style="red", markup=False)
        return 3
    console.print(f"{grade.outcome}, reward {reward:g}: {grade.reason}", markup=False)
    return 0


def _shell(env: BashEnv) -> bool:
    """Connect this terminal with a shell in the sandbox until it ends. Whether `submit` was run."""
    from cwm_env.envs import shell

    assert env.sandbox is not None
    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    command = _SHELL.format(rows=rows, columns=columns)
    argv = ["script", "--quiet", "--return", "--command", command, "/dev/null"]
    environment = {**shell.environment(env.image), "TERM": os.environ.get("TERM", "xterm")}
    process = env.sandbox.spawn(argv, env=environment, cwd=env.image.workdir, user=env.image.user)
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        _relay(process)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        process.kill()
        process.close()
    return run(env.sandbox, ["test", "-e", shell.SUBMITTED], timeout=10).exit_code == 0


def _relay(process: Process) -> None:
    poller = select.poll()
    for descriptor in (sys.stdin.fileno(), process.stdout, process.stderr, process.exited):
        poller.register(descriptor, select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in poller.poll()]
        for descriptor in ready:
            if descriptor == sys.stdin.fileno():
                os.write(process.stdin, os.read(descriptor, _CHUNK))
            elif descriptor != process.exited and not _copy(descriptor):
                poller.unregister(descriptor)
        if process.exited in ready:
            while _copy(process.stdout):
                pass
            return


def _copy(descriptor: int) -> bool:
    """Show what is there; False where there is nothing, or nothing more will come."""
    try:
        data = os.read(descriptor, _CHUNK)
    except BlockingIOError:
        return False
    os.write(sys.stdout.fileno(), data)
    return bool(data)
