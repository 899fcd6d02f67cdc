"""Processes and their three streams."""

from __future__ import annotations

import os
import signal
import threading
import time

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import SHELL_LOOP
from cwm_env.sandbox.checks.bench import ANY_BYTES, MIB, SECONDS, Bench, out, read_line, sh
from cwm_env.sandbox.run import run


def exit_codes(bench: Bench) -> None:
    assert sh(bench.shared, "exit 7").exit_code == 7
    assert sh(bench.shared, "kill -TERM $$").exit_code == 128 + signal.SIGTERM


def arguments_and_environment_arrive_as_given(bench: Bench) -> None:
    odd = "a b'\"\\$x\n\tä"
    done = run(bench.shared, ["/usr/bin/printf", "%s|", odd, "", "-e"], timeout=SECONDS)
    assert done.stdout.decode() == f"{odd}||-e|"
    done = run(bench.shared, ["env"], env={"PATH": "/usr/bin", "ODD": odd}, timeout=SECONDS)
    rows = set(done.stdout.decode().split("\n"))
    assert f"ODD={odd}".split("\n")[0] in rows and not any(row.startswith("HOSTNAME=") for row in rows)


def working_directory_and_user(bench: Bench) -> None:
    assert run(bench.shared, ["pwd"], cwd="/repo", timeout=SECONDS).stdout == b"/repo\n"
    assert out(bench.shared, "id -u; echo $HOME", user="agent") == "1000\n/home/agent"
    assert out(bench.shared, "id -u", user="4242:4243") == "4242"


def unknown_user_is_refused(bench: Bench) -> None:
    try:
        bench.shared.spawn(["true"], user="nosuchuser")
    except SandboxError as error:
        assert "user" in str(error)
    else:
        raise AssertionError("a process was started")


def the_loop_of_a_session_is_given_to_who_asks(bench: Bench) -> None:
    load = f"enable -f {SHELL_LOOP} __cwm && builtin __cwm 123456789 && echo loaded; exec 3<&-; echo end"
    for user in ("root", "agent"):
        asked = bench.shared.spawn(["bash", "-c", load], user=user, shell_loop=True)
        assert read_line(asked.stdout) == b"loaded\n"
        asked.close()
    assert sh(bench.shared, f"test -e {SHELL_LOOP}").exit_code == 1


def missing_program_and_directory(bench: Bench) -> None:
    done = run(bench.shared, ["nosuchprogram"], timeout=SECONDS)
    assert done.exit_code == 127 and b"nosuchprogram" in done.stderr
    assert run(bench.shared, ["/etc/passwd"], timeout=SECONDS).exit_code == 126
    assert run(bench.shared, ["true"], cwd="/nowhere", timeout=SECONDS).exit_code == 127


def process_leads_its_own_group(bench: Bench) -> None:
    fields = out(bench.shared, "read -r line < /proc/$$/stat; set -- $line; echo $1 $5 $6").split()
    assert len(set(fields)) == 1, f"pid, group and session are {fields}"


def streams_are_separate(bench: Bench) -> None:
    done = sh(bench.shared, "echo out; echo err >&2; cat", input=b"in")
    assert (done.stdout, done.stderr) == (b"out\nin", b"err\n")


def streams_carry_any_bytes(bench: Bench) -> None:
    done = run(bench.shared, ["cat"], input=ANY_BYTES, timeout=SECONDS)
    assert done.stdout == ANY_BYTES


def large_input_and_output(bench: Bench) -> None:
    data = os.urandom(1 << 16) * 64
    done = run(bench.shared, ["cat"], input=data, timeout=60, output_limit=8 * MIB)
    assert done.stdout == data


def output_comes_before_what_follows_it_on_error(bench: Bench) -> None:
    process = bench.shared.spawn(["bash", "-c", "for i in {1..200}; do echo $i; echo $i >&2; read; done"])
    try:
        for number in range(1, 201):
            assert read_line(process.stderr) == b"%d\n" % number
            assert os.read(process.stdout, 100) == b"%d\n" % number, "output was late"
            os.write(process.stdin, b"\n")
    finally:
        process.close()


def all_output_is_there_when_it_has_ended(bench: Bench) -> None:
    for _ in range(20):
        assert len(sh(bench.shared, "head -c 50000 /dev/zero").stdout) == 50000


def closed_input_is_end_of_file(bench: Bench) -> None:
    process = bench.shared.spawn(["cat"])
    try:
        process.close_stdin()
        assert process.wait(SECONDS) == 0
    finally:
        process.close()


def unread_stream_holds_up_no_other_process(bench: Bench) -> None:
    flood = bench.shared.spawn(["yes"])
    try:
        time.sleep(0.2)
        assert out(bench.shared, "echo on") == "on"
    finally:
        flood.kill()
        flood.close()


def slow_reader_loses_nothing(bench: Bench) -> None:
    process = bench.shared.spawn(["seq", "200000"])
    try:
        time.sleep(0.5)
        os.set_blocking(process.stdout, True)
        with os.fdopen(os.dup(process.stdout), "rb") as file:
            assert len(file.read().split()) == 200000
    finally:
        process.close()


def background_job_keeps_its_output_open(bench: Bench) -> None:
    process = bench.shared.spawn(["bash", "-c", "(sleep 0.5; echo late) & exit 3"])
    try:
        assert process.wait(SECONDS) == 3
        assert read_line(process.stdout) == b"late\n"
    finally:
        process.close()


def many_processes_at_once(bench: Bench) -> None:
    processes = [bench.shared.spawn(["cat"]) for _ in range(40)]
    try:
        for number, process in enumerate(processes):
            os.write(process.stdin, b"%d\n" % number)
        assert [read_line(process.stdout) for process in processes] == [b"%d\n" % number for number in range(40)]
    finally:
        for process in processes:
            process.kill()
            process.close()


def threads_may_share_a_sandbox(bench: Bench) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        for _ in range(5):
            said = out(bench.shared, f"echo {number}")
            if said != str(number):
                wrong.append(said)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong
