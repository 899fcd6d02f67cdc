"""Properties of a bash session, each after an input that broke other runtimes; the next command must work."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Sandbox
from cwm_env.session import BashSession

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}


@pytest.fixture
def bash(sandbox: Sandbox) -> Iterator[BashSession]:
    with BashSession(sandbox, env=ENV, command_timeout=20, flag_file="/tmp/flag") as session:
        yield session
        after = session.run("echo alive")
        assert (after.output, after.exit_code) == ("alive\n", 0)


@pytest.mark.parametrize(
    ("command", "output", "exit_code"),
    [
        ("echo hi", "hi\n", 0),
        ("echo out; echo err >&2", "out\nerr\n", 0),
        ("false", "", 1),
        ("sh -c 'kill -9 $$'", "", 137),
        ("", "", 0),
        ("   \n\t\n", "", 0),
        ("# only a comment", "", 0),
        ("# leading\necho x", "x\n", 0),
        ("A=(); false", "", 1),
        ("[[ a == a ]] && (( 1 < 2 )) && case x in x) echo y;; esac", "y\n", 0),
        ("cat <<'EOF' > Makefile\nall:\n\techo hi\nEOF\ncat Makefile", "all:\n\techo hi\n", 0),
        ("cat <<A; cat <<'B'\n<x $((1+1))\nA\n<y $((1+1))\nB", "<x 2\n<y $((1+1))\n", 0),
        ("cat <<'EOF'; echo done\nx\nEOF", "x\ndone\n", 0),
        ("echo \"a!b\" !$ !!", "a!b !$ !!\n", 0),
        ("read x; echo \"got[$x]\"; cat; python3 - </dev/null; echo end", "got[]\nend\n", 0),
        ("sleep 60 & echo done", "done\n", 0),
        ("(sleep 60; true) & disown; echo done", "done\n", 0),
        ("printf 'no newline'", "no newline", 0),
        ("printf '\\xff\\x00\\xc3'", "\ufffd\ufffd", 0),
        ("printf 'a\\rb\\033[1mc'", "a\rb\033[1mc", 0),
        ("ls /proc/self/fd | tr '\\n' ' '", "0 1 2 3 ", 0),
        ("break; echo no", "", 0),
        ("break 9", "", 0),
        ("continue", "", 0),
        ("local x", "bash: local: can only be used in a function\n", 1),
        ("tty", "not a tty\n", 1),
        ("exec 3>&1; echo x >&3", "x\n", 0),
    ],
)  # fmt: skip
def test_a_command_gives_what_bash_gives(bash: BashSession, command: str, output: str, exit_code: int) -> None:
    bash.run("cd /tmp")
    result = bash.run(command)
    assert (result.output, result.exit_code) == (output, exit_code)
    assert not result.timed_out and not result.shell_restarted and result.cwd == "/tmp"


@pytest.mark.parametrize(
    "command", ["echo 'open", "if then", "(a", "for x in", "echo $(", "cat <<EOF\nnever ends", "}", "a ) b"]
)
def test_unfinished_input_ends_at_once_with_bashs_own_message(bash: BashSession, command: str) -> None:
    result = bash.run(command, timeout=5)
    assert (not result.timed_out and "EOF" in result.output) or "syntax error" in result.output
    assert result.exit_code in (0, 1, 2)


@pytest.mark.parametrize("size", [4_000, 24_000, 1_000_000, 5_000_000])
def test_a_heredoc_of_any_size_arrives_exactly(bash: BashSession, size: int) -> None:
    line = "0123456789 \\ $x `y` 'z' \"q\" ä\t\n"
    text = line * (size // len(line.encode()) + 1)
    assert bash.run(f"cat > /tmp/big <<'EOF'\n{text}EOF\nwc -c < /tmp/big").output == f"{len(text.encode())}\n"


def test_a_single_line_of_a_megabyte_arrives_exactly(bash: BashSession) -> None:
    assert bash.run(f"x={'y' * 1_000_000}; echo ${{#x}}").output == "1000000\n"


def test_state_persists(bash: BashSession) -> None:
    bash.run(
        "cd /tmp; X=1; export Y=2; a=(1 2); declare -A m=([k]=v); f() { echo f$1; }; alias g='echo alias'; umask 027"
    )
    result = bash.run("pwd; echo $X $Y ${a[1]} ${m[k]}; f 3; g; umask; sh -c 'echo $X.$Y'")
    assert result.output == "/tmp\n1 2 2 v\nf3\nalias\n0027\n.2\n"
    bash.run("(exit 7)")
    assert bash.run("echo $?").output == "7\n"


@pytest.mark.parametrize(
    "setting",
    [
        "PS1='p1> '; PS2='p2> '; PS4='p4> '",
        "PROMPT_COMMAND='echo prompt'",
        "printf() { echo fake; }; eval() { echo fake; }; read() { echo fake; }",
        "alias printf=false eval=false read=false builtin=false",
        "enable -n printf",
        "IFS=:; TMOUT=1",
        "shopt -s extdebug",
        "trap 'true' DEBUG; trap 'true' ERR; trap 'true' RETURN",
        "trap '' INT",
        "set -f; set -o noclobber; set -u",
        "set -e; ! true; false && true",
        "set -o posix",
        "unset PWD; unset IFS",
        "LC_ALL=nonsense",
    ],
)  # fmt: skip
def test_no_setting_of_the_shell_shows_in_later_output(bash: BashSession, setting: str) -> None:
    bash.run(setting)
    for _ in range(2):
        assert bash.run("echo only this").output.endswith("only this\n")
        result = bash.run("echo only this")
        assert (result.output, result.exit_code, result.shell_restarted) == ("only this\n", 0, False)


def test_traces_are_of_the_commands_alone(bash: BashSession) -> None:
    bash.run("set -x")
    traced = bash.run("echo a")
    assert traced.output.lstrip("+") == " echo a\na\n"
    bash.run("set +x; trap 'echo dbg' DEBUG")
    assert bash.run("echo a").output == "dbg\na\n"
    bash.run("trap - DEBUG; set -v")
    assert bash.run("echo a").output == "echo a\na\n"
    bash.run("set +v")


def test_outputs_that_a_command_redirects_stay_redirected(bash: BashSession) -> None:
    bash.run("exec 7>&1 8>&2 >/tmp/f")
    assert bash.run("echo hidden; echo seen >&2").output == "seen\n"
    bash.run("exec 2>&-")
    assert bash.run("echo x; echo y >&2").exit_code == 1
    bash.run("exec >&7 2>&8")
    assert bash.run("cat /tmp/f; echo e >&2").output == "hidden\nx\ne\n"


def test_late_output_of_a_background_job_shows_later(bash: BashSession) -> None:
    assert bash.run("(sleep 0.2; echo late) & echo now").output == "now\n"
    time.sleep(0.4)
    assert bash.run("echo next").output == "next\n"


def test_a_writer_in_the_background_does_not_hold_a_step(bash: BashSession) -> None:
    started = time.monotonic()
    bash.run("yes & echo $!")
    for _ in range(3):
        assert bash.run("true", timeout=5).exit_code == 0
    assert time.monotonic() - started < 5
    bash.run("kill %1")


def test_job_notices_are_absent(bash: BashSession) -> None:
    assert bash.run("sleep 0.1 & sleep 0.2; wait").output == ""
    assert bash.run("true").output == ""


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 3", 3), ("exec true", 0), ("exec sh -c 'exit 5'", 5), ("kill -9 $$", 137), ("set -e; false", 1),
     ("set -eu; echo $nope", 1), ("sleep 60 & exit 4", 4), ("(sleep 60; true) & exit 6", 6), ("exec nosuch", 127)],
)  # fmt: skip
def test_after_its_death_a_new_shell_has_the_state(bash: BashSession, command: str, code: int) -> None:
    bash.run(
        "cd /tmp; X='a b'; export Y=2; a=(1 2); declare -A m=([k]=v); f() { echo f; }; export -f f; alias g='echo al'"
    )
    bash.run("umask 027; shopt -s nullglob; set -f; trap 'echo usr' USR1; readonly R=r; N=$'two\\nlines'")
    result = bash.run(command)
    assert result.shell_restarted and not result.timed_out
    assert result.exit_code == code and result.cwd == "/tmp"
    result = bash.run(
        'pwd; echo $X $Y ${a[1]} ${m[k]} $R "$N"; f; g; umask; shopt nullglob; echo $-; trap -p USR1; bash -c f'
    )
    assert not result.shell_restarted
    lines = result.output.splitlines()
    assert lines[:6] == ["/tmp", "a b 2 2 v r two", "lines", "f", "al", "0027"]
    assert lines[6].split() == ["nullglob", "on"] and "f" in lines[7]
    assert lines[8:] == ["trap -- 'echo usr' SIGUSR1", "f"]


def test_output_before_death_is_kept(bash: BashSession) -> None:
    result = bash.run("echo before; exit 9")
    assert (result.output, result.exit_code, result.shell_restarted) == ("before\n", 9, True)


def test_death_between_commands_is_noticed_and_the_next_command_runs(bash: BashSession) -> None:
    bash.run("cd /tmp; (sleep 0.1; kill -9 $$) &")
    time.sleep(0.4)
    result = bash.run("echo ran; pwd")
    assert (result.output, result.exit_code, result.shell_restarted) == ("ran\n/tmp\n", 0, True)


@pytest.mark.parametrize(
    "command",
    [
        "sleep inf",
        "while :; do :; done",
        "sh -c 'while :; do :; done'",
        "python3 -c 'import signal as s, time; s.signal(2, s.SIG_IGN); s.signal(15, s.SIG_IGN); time.sleep(99)'",
        "trap '' TERM INT; while :; do :; done",
        "trap '' INT; while :; do sleep 5; done",
        "trap 'echo int' INT; while :; do sleep 5; done",
        "setsid sleep 99 & sleep 99",
        "kill -STOP $$",
        "PROMPT_COMMAND='echo x'; sleep 99",
        "wait & sleep 99; echo not this",
        "exec sleep inf",
        "cat /dev/zero | cat >/dev/null",
        "sleep 99 | sleep 99",
        "echo $(sleep 99)",
        "break 5; sleep 1; echo no",
    ],
)  # fmt: skip
def test_at_the_limit_the_tree_is_dead_and_the_shell_usable(bash: BashSession, sandbox: Sandbox, command: str) -> None:
    bash.run("cd /tmp; X=kept")
    started = time.monotonic()
    result = bash.run(f"echo partial; {command}", timeout=0.5)
    took = time.monotonic() - started
    if command.startswith("break"):
        assert not result.timed_out
        return
    assert result.timed_out and result.exit_code == 124
    assert result.output.startswith("partial\n") and "not this" not in result.output
    assert took < 4.0  # the limit, a second, and what a busy machine takes
    after = bash.run("trap - INT TERM; echo $X; pwd; pgrep -x sleep; pgrep -x python3", timeout=5)
    assert after.output == "kept\n/tmp\n"


def test_jobs_of_earlier_commands_survive_a_time_out(bash: BashSession) -> None:
    bash.run("sleep 77 &")
    time.sleep(0.05)
    assert bash.run("sleep 88", timeout=0.3).timed_out
    assert bash.run("pgrep -f -x 'sleep 77' | wc -l; pgrep -f -x 'sleep 88' | wc -l").output == "1\n0\n"


def test_no_program_forges_a_later_result(bash: BashSession) -> None:
    forge = "printf '\\0%s 77 0 /forged\\0' $__cwm_a > $fd"
    bash.run(f"for fd in /proc/$$/fd/*; do {forge}; done 2>/dev/null", timeout=5)
    result = bash.run("echo real; (exit 5)")
    assert (result.output[-5:], result.exit_code, result.cwd) == ("real\n", 5, "/")


@pytest.mark.parametrize("extra", [-1, 0, 1, 2, 1000])
def test_output_around_the_limit_is_counted_exactly(sandbox: Sandbox, extra: int) -> None:
    with BashSession(sandbox, env=ENV, output_limit=10_000) as bash:
        result = bash.run(f"head -c {10_000 + extra} /dev/zero | tr '\\0' x")
        assert result.truncated_bytes == max(extra, 0)
        assert result.output.count("x") == 10_000 + min(extra, 0)


def test_a_flood_is_bounded_and_counted(bash: BashSession) -> None:
    result = bash.run("head -c 100000000 /dev/zero | tr '\\0' y", timeout=60)
    assert result.exit_code == 0 and len(result.output) < 100_000
    kept = result.output.replace(f"\n[... {result.truncated_bytes} bytes left out ...]\n", "", 1)
    assert len(kept.encode()) + result.truncated_bytes == 100_000_000


def test_characters_at_the_cut_stay_whole(sandbox: Sandbox) -> None:
    with BashSession(sandbox, env=ENV, output_limit=1001) as bash:
        result = bash.run("for i in {1..1000}; do printf 'ä'; done")
        assert "\ufffd" not in result.output
        assert result.output.count("ä") * 2 + result.truncated_bytes == 2000


def test_the_flag_file_is_reported(bash: BashSession) -> None:
    assert not bash.run("true").submitted
    assert bash.run("(cd /; env -i sh -c ': > /tmp/flag')").submitted
    assert bash.run("exit 1").submitted


def test_a_nul_byte_is_refused_as_data(bash: BashSession) -> None:
    result = bash.run("echo a\0b")
    assert result.exit_code == 2 and "NUL" in result.output


def test_text_that_is_not_utf8_goes_through(bash: BashSession) -> None:
    assert bash.run("printf %s '\udcff' | od -An -tx1").output.strip() == "ff"


def test_a_deleted_directory_and_a_missing_bin_are_errors_of_the_command(bash: BashSession) -> None:
    bash.run("mkdir /tmp/d; cd /tmp/d; rmdir /tmp/d")
    assert bash.run("ls; echo $?").exit_code == 0
    bash.run("cd /; PATH=/nowhere")
    assert bash.run("ls").exit_code == 127
    bash.run("PATH=/usr/bin:/bin; kill -9 1 -1 2>/dev/null; true")


def test_the_death_of_the_sandbox_is_a_typed_error(sandbox: Sandbox) -> None:
    bash = BashSession(sandbox, env=ENV)
    sandbox.close()
    with pytest.raises(SandboxError):
        bash.run("true")
    bash.close()


def test_a_shell_that_does_not_start_is_a_typed_error(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match=r"bash did not start: .*/nowhere"):
        BashSession(sandbox, env=ENV, cwd="/nowhere")
