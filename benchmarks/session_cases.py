"""The table of inputs that broke other runtimes, run against SWE-ReX's local session and against ours, side by side.

    python -m benchmarks.session_cases [--quick]

Every case gets a fresh sandbox of ours, for both: several would be the end of the machine otherwise. SWE-ReX's session
runs inside it. Where it reports no end of line or another exit code at a time-out, that is not held against it; nor is
that it says nothing about a shell that was replaced.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from benchmarks.peers import SHELL_PEERS, SHELL_SCRIPT, PeerUnavailable, ShellPeer, python_of
from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.registry import backend as backend_named
from cwm_env.session import BashSession
from cwm_env.types import Limits
from tests.conftest import make_image
from tests.session.cases import CASES, Case, Expect, Seen

_PEER = "SWE-ReX"
_LIMITS = Limits(processes=256, memory=4 << 30, disk=1 << 30)


@dataclass(frozen=True)
class Answer:
    """What a peer says of one command."""

    output: str
    exit_code: int
    timed_out: bool
    shell_restarted: bool


class Runtime(Protocol):
    """Runs one command after another."""

    def run(self, command: str, *, timeout: float | None = None) -> Seen: ...


class PeerRuntime:
    """The peer's session in a sandbox."""

    def __init__(self, peer: ShellPeer) -> None:
        self._peer = peer

    def run(self, command: str, *, timeout: float | None = None) -> Answer:
        limit = timeout or 20.0
        said = self._peer.ask(command=command, timeout=limit, within=limit + 20.0)
        return Answer(said["output"], -1 if said["exit_code"] is None else said["exit_code"], said["timed_out"], False)


@contextmanager
def peer_in(sandbox: Sandbox, python: Path) -> Iterator[PeerRuntime]:
    """The peer's session in ``sandbox``."""
    sandbox.write_file("/tmp/peer_shell.py", SHELL_SCRIPT.read_bytes())
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
    process = sandbox.spawn([str(python), "/tmp/peer_shell.py", _PEER], env=env)
    os.set_blocking(process.stdout, True)
    try:
        with os.fdopen(os.dup(process.stdin), "wb") as stdin, os.fdopen(os.dup(process.stdout), "rb") as stdout:
            yield PeerRuntime(ShellPeer(stdin, stdout))
    finally:
        process.kill()
        process.close()


def wrong(case: Case, runtime: Runtime, *, lenient: bool) -> str:
    """Why a runtime does not get a case right; the empty text if it does."""
    for command in case.before:
        runtime.run(command)
    for index, (command, expect) in enumerate(case.turns):
        seen = runtime.run(command, timeout=case.timeout if index == 0 else None)
        if problem := _lenient(expect, seen) if lenient else expect.wrong(seen):
            return problem if index == 0 else f"then, after {command[:40]!r}: {problem}"
    return ""


def _lenient(expect: Expect, seen: Seen) -> str:
    """As ``Expect.wrong``, blind to line ends, to notices of a new shell, and to exit codes of what was stopped."""
    expect = dataclasses.replace(expect, restarted=None, exit_code=None if expect.timed_out else expect.exit_code)
    text = seen.output.replace("\r\n", "\n")
    tried = [Answer(output, seen.exit_code, seen.timed_out, False) for output in (text, text + "\n", text.strip("\n"))]
    problems = [expect.wrong(answer) for answer in tried]
    return "" if "" in problems else problems[0]


def report(cases: list[Case], *, install: bool) -> Table:
    """Run every case on both."""
    table = Table("row", "case", "ours", _PEER, title="Inputs that broke other runtimes")
    right = {"ours": 0, _PEER: 0}
    backend = backend_named()
    try:
        python: Path | None = python_of(SHELL_PEERS[_PEER], install=install)
        missing = ""
    except PeerUnavailable as error:
        python, missing = None, str(error)
    with tempfile.TemporaryDirectory() as place:
        image = make_image(Path(place) / "image")
        # The peer's environment and the interpreter that it was made of, at the paths that it knows.
        mounts = ("/usr", sys.base_prefix, str(python.parent.parent)) if python else ("/usr",)
        image = dataclasses.replace(image, host_mounts=tuple(dict.fromkeys(mounts)))
        for case in track(cases, "running", console=Console(stderr=True)):
            with closing(backend.create(image, _LIMITS)) as sandbox, BashSession(sandbox) as session:
                ours = wrong(case, session, lenient=False)
            theirs = missing
            if python:
                try:
                    with closing(backend.create(image, _LIMITS)) as sandbox, peer_in(sandbox, python) as runtime:
                        theirs = wrong(case, runtime, lenient=True)
                except PeerUnavailable as error:
                    theirs = str(error)
            right["ours"] += not ours
            right[_PEER] += not theirs
            table.add_row(str(case.row), case.name, _cell(ours), _cell(theirs))
    table.add_section()
    table.add_row("", f"right, of {len(cases)}", str(right["ours"]), missing or str(right[_PEER]))
    return table


def _cell(problem: str) -> str:
    return escape(problem[:90]) if problem else "right"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="every tenth case")
    quick = parser.parse_args().quick
    Console(width=160).print(report(CASES[::10] if quick else CASES, install=not quick))


if __name__ == "__main__":
    main()
