"""What a session promises beyond the table of cases, in each of the ways of driving it."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Backend, Sandbox
from cwm_env.session import BashSession, Chunk
from cwm_env.types import CommandResult, Image, Limits
from tests.session.conftest import ENV, Driver

Open = Callable[..., Driver]


def test_death_between_commands_is_noticed_and_the_next_command_runs(bash: Driver) -> None:
    bash.run("cd /tmp; (sleep 0.1; kill -9 $$) &")
    time.sleep(0.4)
    result = bash.run("echo ran; pwd")
    assert (result.output, result.exit_code, result.shell_restarted) == ("ran\n/tmp\n", 0, True)


def test_jobs_that_outlive_their_shell_are_said(bash: Driver) -> None:
    bash.run("sleep 71 &")
    result = bash.run("sleep 72 & exit 3")
    assert sorted(job.split(" ", 1)[1] for job in result.surviving_jobs) == ["sleep 71", "sleep 72"]


def test_jobs_of_earlier_commands_survive_a_time_out(bash: Driver) -> None:
    bash.run("sleep 77 &")
    time.sleep(0.05)
    assert bash.run("sleep 88", timeout=0.3).timed_out
    assert bash.run("pgrep -f -x 'sleep 77' | wc -l; pgrep -f -x 'sleep 88' | wc -l").output == "1\n0\n"


def test_state_changed_a_moment_before_the_shell_is_lost_is_kept(bash: Driver) -> None:
    bash.run("X=old")
    bash.run("X=new; cd /tmp")
    assert bash.run("exec sleep inf", timeout=0.3).shell_restarted
    assert bash.run("echo $X; pwd").output == "new\n/tmp\n"


def test_the_flag_file_is_reported(bash: Driver) -> None:
    assert not bash.run("true").submitted
    assert bash.run("(cd /; env -i sh -c ': > /tmp/flag')").submitted
    assert bash.run("exit 1").submitted


def test_a_nul_byte_is_refused_as_data(bash: Driver) -> None:
    result = bash.run("echo a\0b")
    assert result.exit_code == 2 and "NUL" in result.output


def test_text_that_is_not_utf8_goes_through(bash: Driver) -> None:
    assert bash.run("printf %s '\udcff' | od -An -tx1").output.strip() == "ff"


def test_late_output_comes_once_and_apart(bash: Driver) -> None:
    assert bash.run("(sleep 0.2; echo late) & echo now").output == "now\n"
    time.sleep(0.5)
    result = bash.run("echo next")
    assert (result.output, result.late_output) == ("next\n", "late\n")
    assert bash.run("true").late_output == ""


def test_late_output_is_bounded(open_session: Open) -> None:
    bash = open_session(output_limit=1000)
    bash.run("(sleep 0.1; head -c 50000 /dev/zero | tr '\\0' x) & true")
    time.sleep(0.5)
    result = bash.run("true")
    assert "bytes left out" in result.late_output and len(result.late_output) < 1100


@pytest.mark.parametrize("extra", [-1, 0, 1, 2, 1000])
def test_output_around_the_limit_is_counted_exactly(open_session: Open, extra: int) -> None:
    bash = open_session(output_limit=10_000)
    result = bash.run(f"head -c {10_000 + extra} /dev/zero | tr '\\0' x")
    assert result.truncated_bytes == max(extra, 0)
    assert result.output.count("x") == 10_000 + min(extra, 0)


def test_a_flood_is_bounded_and_counted(bash: Driver) -> None:
    result = bash.run("head -c 100000000 /dev/zero | tr '\\0' y", timeout=60)
    assert result.exit_code == 0 and len(result.output) < 100_000
    kept = result.output.replace(f"\n[... {result.truncated_bytes} bytes left out ...]\n", "", 1)
    assert len(kept.encode()) + result.truncated_bytes == 100_000_000


def test_characters_at_the_cut_stay_whole(open_session: Open) -> None:
    bash = open_session(output_limit=1001)
    result = bash.run("for i in {1..1000}; do printf 'ä'; done")
    assert "\ufffd" not in result.output
    assert result.output.count("ä") * 2 + result.truncated_bytes == 2000


def test_the_whole_output_lies_in_the_sandbox(open_session: Open) -> None:
    bash = open_session(output_limit=1000)
    result = bash.run("seq 1 200000; exit 3")
    assert result.truncated_bytes and result.shell_restarted
    whole = bash.run(f"cksum < {result.output_file}; seq 1 200000 | cksum")
    assert len(set(whole.output.splitlines())) == 1
    assert bash.run("echo short").output_file is None


def test_the_file_of_an_output_has_a_limit_and_few_are_kept(open_session: Open) -> None:
    bash = open_session(output_limit=1000, output_file_limit=5000)
    files = {bash.run("yes", timeout=0.3).output_file for _ in range(3)} | {
        bash.run("seq 1 10000").output_file for _ in range(5)
    }
    assert len(files) == 4
    assert bash.run("stat -c %s /tmp/.output-* | sort -u").output == "5000\n"
    assert open_session(output_limit=1000, output_file_limit=0).run("seq 1 10000").output_file is None


def test_a_full_disk_leaves_out_the_file_alone(open_session: Open) -> None:
    bash = open_session(output_limit=1000)
    bash.run("head -c 3000000000 /dev/zero > /tmp/fill", timeout=60)
    result = bash.run("seq 1 100000")
    assert result.exit_code == 0 and result.truncated_bytes
    assert bash.run("rm /tmp/fill; echo on").output == "on\n"


def test_what_a_command_used_is_said(bash: Driver) -> None:
    time.sleep(0.3)  # before a pause ends, nobody asks
    result = bash.run("timeout 0.4 sh -c 'while :; do :; done'; true")
    assert 0.05 < (result.cpu_time or 0) < 0.6
    assert bash.run("sleep 0.2").cpu_time in (None, *[n / 1000 for n in range(100)])
    assert bash.run("true").cpu_time is None


def test_the_death_of_the_sandbox_is_a_typed_error(sandbox: Sandbox, open_session: Open) -> None:
    bash = open_session()
    sandbox.close()
    with pytest.raises(SandboxError):
        bash.run("true")


def test_a_closed_session_is_a_typed_error(open_session: Open) -> None:
    bash = open_session()
    bash.close()
    bash.close()
    with pytest.raises(SandboxError):
        bash.run("true")


def test_a_shell_that_does_not_start_is_a_typed_error(open_session: Open) -> None:
    with pytest.raises(SandboxError, match=r"bash did not start: .*/nowhere"):
        open_session(cwd="/nowhere")


def test_a_bash_that_cannot_load_the_loop_says_so(open_session: Open, sandbox: Sandbox) -> None:
    sandbox.write_file("/tmp/bash", b'#!/bin/sh\nexec /bin/bash "$@" 3<&-\n', mode=0o755)
    with pytest.raises(SandboxError, match=r"(?s)bash did not start: .*cannot open shared object"):
        open_session(env={"PATH": "/tmp:/usr/bin:/bin"})


def test_a_stream_hands_out_output_as_it_comes(sandbox: Sandbox) -> None:
    with BashSession(sandbox, env=ENV) as bash:
        *chunks, result = bash.stream("for i in 1 2 3; do echo $i; sleep 0.2; done; printf 'ä'; exit 4")
    assert isinstance(result, CommandResult) and result.exit_code == 4 and result.shell_restarted
    pieces = [chunk for chunk in chunks if isinstance(chunk, Chunk)]
    assert "".join(chunk.text for chunk in pieces) == result.output == "1\n2\n3\nä"
    times = [chunk.time for chunk in pieces if re.search(r"\d", chunk.text)]
    assert len(times) == 3 and all(0.1 < later - sooner < 1 for sooner, later in pairwise(times))


def test_leaving_a_stream_stops_its_command(sandbox: Sandbox) -> None:
    with BashSession(sandbox, env=ENV) as bash:
        started = time.monotonic()
        for chunk in bash.stream("X=1; echo first; sleep 99"):
            assert isinstance(chunk, Chunk) and chunk.text == "first\n"
            break
        assert bash.run("echo $X; pgrep -cx sleep").output == "1\n0\n"
        assert time.monotonic() - started < 5


def test_an_exception_in_the_middle_of_a_command_leaves_the_session_usable(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BashSession(sandbox, env=ENV) as bash:
        bash.run("X=1")
        interrupted = False
        real = bash._do

        def interrupt(step: object) -> object:
            nonlocal interrupted
            answer = real(step)  # type: ignore[arg-type]
            if not interrupted:
                interrupted = True
                raise KeyboardInterrupt
            return answer

        monkeypatch.setattr(bash, "_do", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bash.run("echo a; sleep 99")
        result = bash.run("echo $X; pgrep -cx sleep")
        assert (result.output, result.late_output) == ("1\n0\n", "")


def _commands_of_the_machine() -> set[bytes]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.add(path.read_bytes())
    return found


def test_a_double_fork_with_setsid_dies_with_its_sandbox(sandbox: Sandbox, bash: Driver) -> None:
    seconds = f"{time.time_ns() % 10**9 + 10**6}.5"
    sleep = f"sleep\0{seconds}\0".encode()
    with BashSession(sandbox, env=ENV) as other:
        other.run(f"setsid sh -c '(setsid sleep {seconds} >/dev/null 2>&1 &)'; sleep 0.2")
    assert sleep in _commands_of_the_machine()
    sandbox.kill_processes(keep=[int(pid) for pid in bash.run("echo $$").output.split()])
    assert sleep not in _commands_of_the_machine()


def test_a_memory_hog_dies_and_is_said_to(backend: Backend, image: Image) -> None:
    with contextlib.closing(backend.create(image, Limits(memory=256 << 20, disk=64 << 20))) as sandbox:
        if sandbox.usage().memory_kills is None:
            pytest.skip("control groups cannot be written here")
        with BashSession(sandbox, env=ENV) as bash:
            bash.run("X=kept")
            time.sleep(0.3)
            result = bash.run("python3 -c 'x = bytearray(1 << 30)'; echo code $?")
            assert "code 137\n" in result.output or "Killed" in result.output
            assert bash.run("echo $X").output == "kept\n"
            time.sleep(0.3)
            result = bash.run("python3 -c 'x = bytearray(1 << 30)'")
            assert (result.exit_code, result.limits_hit, result.shell_restarted) == (137, ("memory",), False)
