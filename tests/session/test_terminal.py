"""A terminal driven as a person would: what runs, what it shows, and when it waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cwm_env.sandbox.base import Backend, Sandbox
from cwm_env.session import TerminalSession, keys
from cwm_env.types import Image, Limits
from tests.session.conftest import ENV

_GIT = "git -c user.name=a -c user.email=b@c"


@pytest.fixture
def sandbox(backend: Backend, image: Image) -> Iterator[Sandbox]:
    """A fresh sandbox, with the machine's alternatives, so that ``vim`` leads somewhere."""
    alternatives = [path for path in ("/etc/alternatives",) if Path(path).is_dir()]
    made = backend.create(replace(image, host_mounts=(*image.host_mounts, *alternatives)), Limits())
    yield made
    made.close()


@pytest.fixture
def terminal(sandbox: Sandbox) -> Iterator[TerminalSession]:
    with TerminalSession(sandbox, env={**ENV, "HOME": "/tmp"}, cwd="/tmp", command_timeout=20) as session:
        yield session


def _last(screen: str | None) -> str:
    return (screen or "").splitlines()[-1]


def test_a_command_ends_with_its_exit_code_and_directory(terminal: TerminalSession) -> None:
    result = terminal.run("mkdir d; cd d; echo hi; (exit 3)\n")
    assert (result.exit_code, result.cwd, result.running, result.timed_out) == (3, "/tmp/d", False, False)
    assert "\r\nhi\r\n" in result.output and "\nhi\n" in (result.screen or "")


def test_keys_without_enter_run_nothing(terminal: TerminalSession) -> None:
    result = terminal.run("touch never")
    assert not result.running and _last(result.screen).endswith("touch never")
    assert "never" not in terminal.run("<C-u>ls<Enter>").output.replace("touch never", "")


def test_python_is_driven_line_by_line(terminal: TerminalSession) -> None:
    result = terminal.run("python3 -q\n")
    assert result.running and result.exit_code == -1 and _last(result.screen).startswith(">>>")
    assert "\n42\n" in (terminal.run("6 * 7\n").screen or "")
    started = time.monotonic()
    assert "\nslept\n" in (terminal.run("import time; time.sleep(0.5); print('slept')\n").screen or "")
    assert time.monotonic() - started >= 0.5
    result = terminal.run("<C-d>")
    assert (result.running, result.exit_code) == (False, 0)


def test_an_editor_writes_a_file(terminal: TerminalSession) -> None:
    result = terminal.run("vim -u NONE -N f.txt\n")
    assert result.running and "~" in (result.screen or "")
    terminal.run("ione<Enter>three<Esc>")
    terminal.run("<Up>otwo<Esc>")
    result = terminal.run(":wq<Enter>")
    assert not result.running
    assert "one\r\ntwo\r\nthree" in terminal.run("clear; cat f.txt\n").output


def test_a_pager_is_paged(terminal: TerminalSession) -> None:
    result = terminal.run("seq 1 100 | less\n")
    assert result.running and (result.screen or "").startswith("1\n2\n")
    assert (terminal.run("<Down><Down>").screen or "").startswith("3\n")
    assert "\n100\n" in (terminal.run("G").screen or "")
    assert not terminal.run("q").running


def test_an_interactive_rebase_is_edited(terminal: TerminalSession) -> None:
    commits = "; ".join(f"{_GIT} commit -q --allow-empty -m c{number}" for number in range(3))
    terminal.run(f"git init -q r; cd r; {commits}; export GIT_EDITOR='vim -u NONE -N'\n")
    result = terminal.run(f"{_GIT} rebase -i HEAD~2\n")
    assert result.running and "pick" in (result.screen or "")
    terminal.run("ddp")
    result = terminal.run(":wq<Enter>")
    assert (result.running, result.exit_code) == (False, 0)
    assert "c1\r\nc2\r\nc0" in terminal.run("clear; git --no-pager log --format=%s\n").output


def test_a_password_is_asked_for_and_not_shown(terminal: TerminalSession) -> None:
    result = terminal.run("python3 -c 'import getpass; print(len(getpass.getpass()))'\n")
    assert result.running and _last(result.screen).startswith("Password:")
    result = terminal.run("secret\n")
    assert not result.running and "secret" not in (result.screen or "") and "\n6\n" in (result.screen or "")


def test_control_keys_interrupt_stop_and_end(terminal: TerminalSession) -> None:
    result = terminal.run("sleep 99\n", timeout=0.5)
    assert result.running and result.timed_out
    result = terminal.run("<C-c>")
    assert (result.running, result.exit_code) == (False, 130)
    assert terminal.run("cat\n").running
    assert terminal.run("<C-z>").exit_code == 148
    assert terminal.run("fg\n").running
    assert (terminal.run("<C-d>").running, terminal.run("echo $?\n").exit_code) == (False, 0)


def test_the_window_has_a_size_that_changes(terminal: TerminalSession) -> None:
    assert "24 80" in terminal.run("stty size\n").output
    terminal.resize(40, 100)
    assert "40 100" in terminal.run("stty size\n").output
    assert "100" in terminal.run("tput cols\n").output


def test_a_shell_that_ends_is_replaced_where_it_stood(terminal: TerminalSession) -> None:
    terminal.run("mkdir d; cd d\n")
    result = terminal.run("exit 3\n")
    assert result.shell_restarted and not result.running and result.cwd == "/tmp/d"
    assert "/tmp/d" in terminal.run("pwd\n").output


def test_a_flood_is_bounded(terminal: TerminalSession) -> None:
    result = terminal.run("yes\n", timeout=3)
    assert result.timed_out and result.truncated_bytes and len(result.output) < 100_000
    assert terminal.run("<C-c>").exit_code == 130


def test_any_bytes_can_be_shown(terminal: TerminalSession) -> None:
    result = terminal.run("head -c 20000 /dev/urandom; reset; echo back\n")
    assert not result.running and "back" in terminal.run("clear; echo back\n").output


def test_what_pexpect_reads_is_on_the_screen_as_well(terminal: TerminalSession) -> None:
    terminal.run("(sleep 0.3; echo done-later) &\n")
    terminal.child.expect("done-later", timeout=10)
    assert "done-later" in terminal.screen


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("ls\n", b"ls\r"),
        ("<Up><C-c><C-[>", b"\x1b[A\x03\x1b"),
        ("<esc>:wq<ENTER>", b"\x1b:wq\r"),
        ("<A-f><S-Tab><F5><C-?>", b"\x1bf\x1b[Z\x1b[15~\x7f"),
        ("cat <<EOF\n<html> a < b > c <lt>Up>\nEOF\n", b"cat <<EOF\r<html> a < b > c <Up>\rEOF\r"),
        ("ä", "ä".encode()),
    ],
)
def test_keys_have_names(text: str, sent: bytes) -> None:
    assert keys.encode(text) == sent


def test_cursor_keys_are_sent_as_the_program_asks() -> None:
    assert keys.encode("<Up><Home>", cursor_application=True) == b"\x1bOA\x1bOH"
