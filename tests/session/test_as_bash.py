"""A session does what a plain bash script does: random sequences of commands, compared step by step."""

from __future__ import annotations

import re
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.run import run
from cwm_env.session import BashSession
from tests.session.conftest import ENV

_names = st.sampled_from(["A", "B", "C"])
_words = st.sampled_from(
    ["x", "a b", "*", "$A", "${B-none}", "`echo q`", "$((1+2))", "'s'", "ä€", "\\t", "a;b", "#h", "!x", "~"]
)
_codes = st.integers(0, 130)
_COMMANDS = st.one_of(
    st.builds('{}="{}"'.format, _names, _words),
    st.builds('export {}="{}"'.format, _names, _words),
    st.builds("unset {}".format, _names),
    st.builds('echo "${}" {}'.format, _names, _words),
    st.builds("printf '%s|' \"{}\"".format, _words),
    st.builds("(exit {})".format, _codes),
    st.builds("sh -c 'exit {}'".format, _codes),
    st.just("echo $?"),
    st.builds("L=(1 '{}' 3); echo ${{#L[@]}} \"${{L[1]}}\"".format, st.sampled_from(["p", "q r"])),
    st.builds("L+=({})".format, st.integers(0, 9)),
    st.builds("declare -A M; M[{}]={}; echo ${{!M[@]}}".format, st.sampled_from("kl"), st.integers(0, 9)),
    st.builds("f() {{ echo \"f $1\"; return {}; }}".format, _codes),
    st.just("f arg"),
    st.builds("mkdir -p {0}; cd {0}".format, st.sampled_from(["d", "e/f", "'with space'"])),
    st.just("cd .."),
    st.just("cd -"),
    st.just("pwd"),
    st.builds("for i in 1 2; do {}=$i; echo $i; done".format, _names),
    st.builds("[[ ${} == x ]] && echo yes || echo no".format, _names),
    st.builds("cat <<EOF\nl1 ${}\n\ttab\nEOF".format, _names),
    st.just("cat <<'EOF' | tr a-z A-Z\n$A `b`\nEOF"),
    st.just("echo out; echo err >&2"),
    st.just("false | true; echo ${PIPESTATUS[*]}"),
    st.just("read -r R <<< \"one two\"; echo $R"),
    st.just("read -r R; echo \"[$R] $?\""),
    st.just("(A=sub; cd /; echo $A)"),
    st.just("alias hi='echo aliased'"),
    st.just("! true"),
    st.just("false && true"),
    st.just("set -f"),
    st.just("set +f; echo d*"),
    st.just("set -o pipefail; false | true"),
    st.just("shopt -s nullglob; echo zz*"),
    st.just("umask 027; umask"),
    st.just("case $A in x) echo x;; *) echo other;; esac"),
    st.just("let 'N = N + 1'; echo $N"),
    st.just("(( N > 2 )) || echo small"),
    st.just("trap 'echo usr1' USR1; kill -USR1 $BASHPID"),
    st.just("true # comment"),
    st.just("nosuchcommand"),
    st.just("exec 3>&1; echo three >&3; exec 3>&-"),
    st.just("{ echo group; } | cat"),
    st.just("sleep 0 & wait; echo waited"),
    st.just("IFS=,; S=a,b; echo $S; unset IFS"),
    st.just("set -- p1 p2; echo $# $2; shift; echo $1"),
)  # fmt: skip
_SHOW = "declare -p A B C L M N R 2>/dev/null; declare -f f; umask; shopt nullglob; pwd"
_runs = count()


def _plain(sandbox: Sandbox, base: str, commands: list[str]) -> list[tuple[str, int, str]]:
    """Output, exit code and directory after each command of one script."""
    parts = [f"exec 2>&1 </dev/null; mkdir -p {base}; cd {base}"]
    for command in commands:
        parts.append(f"{command}\n__s=$?; printf '\\0%s\\0%s\\0' $__s \"$PWD\"; (exit $__s)")
    done = run(sandbox, ["bash", "-O", "expand_aliases", "-c", "\n".join(parts)], env=ENV, timeout=60)
    fields = done.stdout.decode().split("\0")
    return [(fields[at], int(fields[at + 1]), fields[at + 2]) for at in range(0, len(fields) - 2, 3)]


def _neutral(text: str) -> str:
    """Without what must differ: the directory of the run, and the name and line of a script in bash's messages."""
    return re.sub(r"(?m)^(\S*bash|environment): (line \d+: )?", "bash: ", re.sub(r"/tmp/[op]\d+", "BASE", text))


@settings(max_examples=60)
@given(commands=st.lists(_COMMANDS, min_size=1, max_size=12))
def test_random_commands_do_what_they_do_in_a_script(sandbox: Sandbox, commands: list[str]) -> None:
    number = next(_runs)
    below = "/".join("x" * 13)  # so deep that no number of `cd ..` leads out
    ours_at, plain_at = f"/tmp/o{number}/{below}", f"/tmp/p{number}/{below}"
    commands = [*commands, _SHOW]
    expected = [(_neutral(out), code, _neutral(cwd)) for out, code, cwd in _plain(sandbox, plain_at, commands)]
    with BashSession(sandbox, env=ENV) as bash:
        bash.run(f"shopt -s expand_aliases; mkdir -p {ours_at}; cd {ours_at}")
        seen = []
        for command in commands:
            result = bash.run(command)
            seen.append((_neutral(result.output), result.exit_code, _neutral(result.cwd)))
    assert seen == expected
