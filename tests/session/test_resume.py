"""A session goes on with a bash that another process had talked to, wherever that process was killed."""

from __future__ import annotations

import asyncio
import os
import select
import time
from dataclasses import replace

import pytest

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Sandbox
from cwm_env.session import AsyncBashSession, Left
from cwm_env.session.protocol import ARGV, NONCE, Done, ShellProtocol
from cwm_env.session.resume import MISSED, Given
from cwm_env.session.settings import Settings
from cwm_env.types import CommandResult
from tests.session.conftest import ENV


class Killed:
    """A process that started bash, talked to it, and is never heard of again."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.process = sandbox.spawn(ARGV, env=ENV, shell_loop=True)
        self._protocol = ShellProtocol()
        self._say(self._protocol.start())

    def run(self, command: str) -> None:
        """Run a command, and hear that it has ended."""
        self._say(self._protocol.command(command.encode()))

    def give(self, command: str, *, write: bool = True) -> Given:
        """Give a command to bash, or be killed just before that."""
        request = self._protocol.command(command.encode())
        if write:
            os.write(self.process.stdin, request)
        return Given(request[:NONCE], len(request), self.process.pid, time.monotonic(), False, False)

    def read(self, descriptor: int) -> bytes:
        """Read what no one will then be told."""
        select.select([descriptor], [], [], 20)
        return os.read(descriptor, 1 << 16)

    def next(self, left: Left, *commands: str, timeout: float = 20) -> tuple[CommandResult | None, list[CommandResult]]:
        """What another process makes of it: the result of the command given, and those of some more."""

        async def main() -> tuple[CommandResult | None, list[CommandResult]]:
            async with AsyncBashSession(self._sandbox, Settings(ENV, command_timeout=20)) as session:
                given = await session.resume(self.process, left, timeout)
                return given, [await session.run(command) for command in commands]

        return asyncio.run(main())

    def _say(self, request: bytes) -> None:
        os.write(self.process.stdin, request)
        while not any(isinstance(event, Done) for event in self._protocol.feed(self.read(self.process.stderr))):
            pass


@pytest.fixture
def killed(sandbox: Sandbox) -> Killed:
    return Killed(sandbox)


def test_between_two_commands_everything_is_as_it_was(killed: Killed) -> None:
    killed.run("cd /tmp; x='a b'; f() { echo f$x; }; exec 2>&1; set -u; (exit 6)")
    _, (first, second) = killed.next(Left("/tmp"), "echo $? $x; f; pwd", "echo $?")
    assert (first.output, second.output) == ("6 a b\nfa b\n/tmp\n", "0\n")


@pytest.mark.parametrize("before", ["true", "set -e"])
def test_a_command_that_runs_is_waited_for(killed: Killed, before: str) -> None:
    killed.run(before)
    given = killed.give("echo one; sleep 0.5; echo two; cd /tmp; false || (exit 0); trap 'echo t' USR1")
    result, (after,) = killed.next(Left("/", given), "trap -p USR1")
    assert result is not None
    assert (result.output, result.exit_code, result.cwd) == ("one\ntwo\n", 0, "/tmp")
    assert "echo t" in after.output


def test_what_was_read_of_its_status_can_be_asked_for_again_and_again(killed: Killed) -> None:
    given = killed.give("echo out; cd /tmp; (exit 9)")
    killed.read(killed.process.stderr)
    given = replace(given, status_read=True)
    asked = ShellProtocol().private(b"")  # by one who was killed as well, before the answer
    os.write(killed.process.stdin, asked)
    killed.read(killed.process.stderr)
    result, (after,) = killed.next(Left("/", given), "echo $?")
    assert result is not None
    assert (result.output, result.exit_code, result.cwd) == ("out\n", 9, "/tmp")
    assert after.output == "9\n"


def test_what_was_read_of_its_output_is_said_to_be_lost(killed: Killed) -> None:
    given = killed.give("echo one; sleep 0.5; echo two")
    assert killed.read(killed.process.stdout) == b"one\n"
    result, _ = killed.next(Left("/", replace(given, output_read=True)))
    assert result is not None and result.output == f"{MISSED}two\n"


def test_a_command_that_never_reached_bash_has_not_run(killed: Killed) -> None:
    given = killed.give("echo never; touch /tmp/ran", write=False)
    result, (after,) = killed.next(Left("/", given), "ls /tmp/ran")
    assert result is None and after.exit_code == 2


@pytest.mark.parametrize("long", [True, False], ids=["half written perhaps", "given to a shell that has ended"])
def test_a_command_of_which_that_cannot_be_known_is_lost(killed: Killed, long: bool) -> None:
    given = killed.give(f"echo {'x' * 100_000 if long else ''}", write=False)
    given = given if long else replace(given, shell=killed.process.pid + 1)
    with pytest.raises(SandboxError, match="when the server was restarted"):
        killed.next(Left("/", given))


def test_it_can_reach_its_time_limit(killed: Killed) -> None:
    given = killed.give("echo begun; sleep 60")
    result, (after,) = killed.next(Left("/", given), "echo $?", timeout=0.5)
    assert result is not None and result.timed_out and (result.exit_code, result.output) == (124, "begun\n")
    assert not result.shell_restarted and after.exit_code == 0


def test_it_can_end_its_shell(killed: Killed) -> None:
    given = killed.give("echo bye; sleep 0.3; exit 4")
    result, (after,) = killed.next(Left("/tmp", given), "pwd")
    assert result is not None and result.shell_restarted
    assert (result.exit_code, result.output, after.output) == (4, "bye\n", "/tmp\n")


def test_a_shell_that_ended_between_two_commands_is_replaced(killed: Killed) -> None:
    killed.process.kill()
    assert killed.process.wait(10) is not None
    _, (after,) = killed.next(Left("/tmp"), "pwd")
    assert after.shell_restarted and after.output == "/tmp\n"
