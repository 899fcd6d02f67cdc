"""What a command's text says about the shell's state: nothing that changes it is overlooked."""

from __future__ import annotations

import pytest

from cwm_env.session.touching import touches_shell


@pytest.mark.parametrize(
    "text",
    [
        "X=1",
        "export X",
        "a[0]=1",
        "sleep 9 &",
        "f() { :; }",
        "f ( ) { :; }",
        "((x++))",
        ". ./env.sh",
        "source env",
        "cd /; set -e",
        "exit",
        "exec >f",
        "(umask 0)",
        "kill %1",
        "jobs",
        "printf -v X a",
        "'unset' X",
        "\\export X",
        "`read X`",
        "$(declare -p)",
        "true\nalias g=h",
        "popd;ls",
        "let x++",
    ],
)
def test_what_may_change_the_shell_is_seen(text: str) -> None:
    assert touches_shell(text.encode())


@pytest.mark.parametrize(
    "text", ["ls -la", "cd /tmp", "cat set.py | head", "grep -rn foo .", "echo $(pwd)", "./export_it", "printf a"]
)
def test_what_cannot_is_told_apart(text: str) -> None:
    assert not touches_shell(text.encode())
