"""The inputs that broke other runtimes, each with the right answer: one table for the tests and for the benchmark.

Rows carry the number of the class of inputs that they belong to; ``docs/session.md`` says each in words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Seen(Protocol):
    """What a runtime says of one command."""

    @property
    def output(self) -> str: ...
    @property
    def exit_code(self) -> int: ...
    @property
    def timed_out(self) -> bool: ...
    @property
    def shell_restarted(self) -> bool: ...


@dataclass(frozen=True)
class Expect:
    """What must be seen of one command. None leaves open what bash itself leaves open."""

    output: str | re.Pattern[str] | Callable[[str], bool] | None = None
    exit_code: int | tuple[int, ...] | None = None
    timed_out: bool = False
    restarted: bool | None = False

    def wrong(self, seen: Seen) -> str:
        """Why ``seen`` is not right; the empty text if it is."""
        if seen.timed_out != self.timed_out:
            return "it reached the time limit" if seen.timed_out else "it did not reach the time limit"
        if not self._output_matches(seen.output):
            return f"output {seen.output[:200]!r} ({len(seen.output)} characters)"
        codes = (self.exit_code,) if isinstance(self.exit_code, int) else self.exit_code
        if codes is not None and seen.exit_code not in codes:
            return f"exit code {seen.exit_code}, not {self.exit_code}"
        return "" if self.restarted in (None, seen.shell_restarted) else f"shell_restarted is {seen.shell_restarted}"

    def _output_matches(self, output: str) -> bool:
        if self.output is None:
            return True
        if isinstance(self.output, str):
            return output == self.output
        if isinstance(self.output, re.Pattern):
            return self.output.search(output) is not None
        return self.output(output)


Turn = tuple[str, Expect]
"""A command, and what must be seen of it."""

ALIVE: Turn = ("echo alive", Expect("alive\n", 0))


@dataclass(frozen=True)
class Case:
    """One input, what comes before it, and what the next command must show."""

    row: int
    name: str
    command: str
    expect: Expect
    before: tuple[str, ...] = ()
    then: tuple[Turn, ...] = ()
    timeout: float = 20.0
    """Seconds for the input; the commands around it get 20."""

    @property
    def turns(self) -> list[Turn]:
        """What follows ``before``: the input, what must hold after it, and a last sign of life."""
        return [(self.command, self.expect), *self.then, ALIVE]

    def __str__(self) -> str:
        words = re.sub(r"[^\w.]+", "-", self.name).strip("-")
        return f"{self.row:02d}-{words}"


def gives(output: str = "", exit_code: int = 0) -> Expect:
    """Exactly this output and exit code."""
    return Expect(output, exit_code)


def ends_shell(exit_code: int, output: str | None = "") -> Expect:
    """The shell ends with this code, and another takes over."""
    return Expect(output, exit_code, restarted=True)


_SYNTAX = re.compile("syntax error|unexpected EOF|EOF")
_STOPPED = Expect(re.compile(r"\Apartial\n"), 124, timed_out=True)
_STOPPED_AND_REPLACED = Expect(re.compile(r"\Apartial\n"), 124, timed_out=True, restarted=True)
_STATE = (
    "cd /tmp; V='a b'; export E=2; a=(1 2); declare -A m=([k]=v); f() { echo f; }; alias g='echo al'",
    "umask 027; shopt -s nullglob; set -f; trap 'echo usr' USR1; readonly R=r",
)
_HAS_STATE: Turn = (
    "pwd; echo $V $E ${a[1]} ${m[k]} $R; f; g; umask; shopt nullglob; case $- in *f*) echo noglob;; esac; trap -p USR1; "
    "bash -c 'echo $V$E'",
    gives("/tmp\na b 2 2 v r\nf\nal\n0027\nnullglob       \ton\nnoglob\ntrap -- 'echo usr' SIGUSR1\n2\n"),
)
_ONLY_THIS: tuple[Turn, ...] = (("echo only this", gives("only this\n")),) * 2


def _heredoc(size: int) -> Case:
    line = "0123456789 \\ $x `y` 'z' \"q\" !b\t\n"
    text = line * (size // len(line))
    command = f"cat > /tmp/big <<'EOF'\n{text}EOF\nwc -c < /tmp/big; cksum < /tmp/big | cut -d' ' -f2"
    return Case(3, f"heredoc of {size} bytes", command, gives(f"{len(text)}\n{len(text)}\n"), timeout=60)


def _quiet(name: str, setting: str, undo: str = "") -> Case:
    """After a setting of the shell, what the next commands show is what they wrote and nothing else."""
    return Case(8, name, setting, Expect(), then=(*_ONLY_THIS, *(((undo, Expect()),) if undo else ())))


def _stop(name: str, command: str, expect: Expect = _STOPPED) -> Case:
    """At the time limit the partial output is kept, the tree is dead and the shell has its state."""
    after: Turn = ("trap - INT TERM; echo $X; pwd; pgrep -x sleep; pgrep -x python3", Expect("kept\n/tmp\n"))
    return Case(19, name, f"echo partial; {command}", expect, ("cd /tmp; X=kept",), (after,), timeout=0.7)


# ruff: noqa: E501 - a row is a line
CASES = [
    Case(1, "heredoc holding a TAB", "cat <<'EOF' > /tmp/M\nall:\n\techo hi\nEOF\ncat /tmp/M", gives("all:\n\techo hi\n")),
    Case(1, "heredoc that strips TABs", "cat <<-EOF\n\tone\n\t\ttwo\n\tEOF", gives("one\ntwo\n")),
    Case(1, "TAB in an argument", "printf '%s|' 'a\tb' c\td", gives("a\tb|c|d|")),
    Case(2, "two heredocs in one command", "cat <<A; cat <<'B'\n<x $((1+1))\nA\n<y $((1+1))\nB", gives("<x 2\n<y $((1+1))\n")),
    Case(2, "quoted heredoc and a command after it", "cat <<'EOF'; echo done\n$x `y`\nEOF", gives("$x `y`\ndone\n")),
    Case(2, "heredoc of lines that begin with <", "cat <<EOF\n<html>\n<<b>>\n</html>\nEOF", gives("<html>\n<<b>>\n</html>\n")),
    Case(2, "heredoc without a last newline", "cat <<'EOF'\nx\nEOF", gives("x\n")),
    _heredoc(24_000),
    _heredoc(5_000_000),
    Case(3, "line of 60 KB", f"x={'y' * 60_000}; echo ${{#x}}", gives("60000\n")),
    Case(3, "line of 1 MB", f"x={'y' * 1_000_000}; echo ${{#x}}", gives("1000000\n"), timeout=60),
    Case(3, "argument over 16 KB", f"printf %s {'z' * 20_000} | wc -c", gives("20000\n")),
    Case(3, "300 KB that is not ASCII", f"x='{'ä€𝄞' * 50_000}'; echo ${{#x}}", gives("150000\n"), timeout=60),
    *(
        Case(4, f"unfinished: {name}", command, Expect(_SYNTAX, 2))
        for name, command in [
            ("open quote", "echo 'open"), ("open double quote", 'echo "open'), ("if then", "if then"), ("open bracket", "(a"),
            ("for in", "for x in"), ("open substitution", "echo $("), ("stray brace", "}"), ("stray bracket", "a ) b"),
        ]
    ),
    Case(4, "unfinished heredoc", "cat <<EOF\nnever ends", Expect(re.compile("never ends"), (0, 1, 2))),
    Case(5, "empty array, then false", "A=(); false", gives("", 1)),
    Case(5, "double brackets, arithmetic, case", "[[ a == a ]] && (( 1 < 2 )) && case x in x) echo y;; esac", gives("y\n")),
    Case(5, "leading comment", "# leading\necho x", gives("x\n")),
    Case(5, "several lines", "for i in 1 2; do\n  echo $i\ndone\n\nif true; then\n  echo z\nfi", gives("1\n2\nz\n")),
    Case(5, "comment only", "# only a comment", gives()),
    Case(5, "blank only", "   \n\t\n", gives()),
    Case(5, "empty", "", gives()),
    Case(5, "the exit code before it", "echo $?", gives("7\n"), ("(exit 7)",)),
    Case(5, "line continuation", "echo a \\\n  b", gives("a b\n")),
    Case(5, "break and continue outside of a loop", "break 2>/dev/null; continue 2>/dev/null; echo here", gives("here\n")),
    Case(5, "what the last command left in PIPESTATUS and $_", "echo ${PIPESTATUS[*]} $_", gives("3 0 x\n"), ("true x; (exit 3) | true",)),
    Case(6, "set -e and a failure", "set -e; false; echo not this", ends_shell(1), _STATE, (_HAS_STATE,)),
    Case(6, "set -u and an unset name", "set -u; echo $nope; echo then", Expect(re.compile("unbound variable"), (1, 127))),
    Case(6, "set -euo pipefail and a failing pipe", "set -euo pipefail; false | true; echo no", ends_shell(1), _STATE, (_HAS_STATE,)),
    Case(6, "set -e kept, a later command fails", "false", ends_shell(1), ("set -e",)),
    Case(6, "set -e and what bash forgives", "! true; false && true; if false; then :; fi; echo on", gives("on\n"), ("set -e",)),
    Case(7, "exit 3", "exit 3", ends_shell(3), _STATE, (_HAS_STATE,)),
    Case(7, "output, then exit", "echo before; exit 9", ends_shell(9, "before\n"), _STATE, (_HAS_STATE,)),
    Case(7, "exec true", "exec true", ends_shell(0), _STATE, (_HAS_STATE,)),
    Case(7, "exec sleep", "exec sleep 0.2", ends_shell(0), _STATE, (_HAS_STATE,)),
    Case(7, "exec of nothing there", "exec nosuchprogram", Expect(re.compile("not found"), 127, restarted=True)),
    Case(7, "kill -9 of the shell", "kill -9 $$", ends_shell(137), _STATE, (_HAS_STATE,)),
    Case(7, "background job, then exit", "sleep 60 & exit 1", ends_shell(1), _STATE, (_HAS_STATE, ("pgrep -cx sleep", gives("1\n")))),
    Case(7, "return and logout", "return 4 2>/dev/null; logout 2>/dev/null; true", Expect()),
    _quiet("PS1, PS2 and PS4", "PS1='p1> '; PS2='p2> '; PS4='p4> '"),
    _quiet("PROMPT_COMMAND", "PROMPT_COMMAND='echo prompt'"),
    Case(8, "trap DEBUG", "trap 'echo dbg' DEBUG", Expect(), then=(("echo a", gives("dbg\na\n")), ("trap - DEBUG", Expect()))),
    Case(8, "trap EXIT", "trap 'echo bye' EXIT", gives(), then=(*_ONLY_THIS, ("exit 5", ends_shell(5, "bye\n")))),
    _quiet("trap '' INT", "trap '' INT"),
    _quiet("traps ERR and RETURN", "trap 'true' ERR; trap 'true' RETURN"),
    _quiet("shopt extdebug", "shopt -s extdebug"),
    Case(8, "set -x", "set -x", Expect(), then=(("echo a", gives("+ echo a\na\n")), ("set +x", Expect()))),
    Case(8, "set -v", "set -v", Expect(), then=(("echo a", gives("echo a\na\n")), ("set +v", Expect()))),
    _quiet("enable -n printf", "enable -n printf"),
    _quiet("functions that hide builtins", "printf() { :; }; eval() { :; }; read() { :; }"),
    _quiet("aliases that hide builtins", "alias printf=false eval=false read=false"),
    _quiet("IFS and TMOUT", "IFS=:; TMOUT=1"),
    _quiet("noglob, noclobber, nounset", "set -f; set -o noclobber; set -u"),
    _quiet("posix mode", "set -o posix"),
    _quiet("a locale that is none", "LC_ALL=nonsense 2>/dev/null", "unset LC_ALL"),
    _quiet("unset PWD and IFS", "unset PWD IFS"),
    Case(9, "a frame of the runtime's own", "printf '\\0abcdefgh 77 0 hB /forged\\0'", Expect(re.compile("forged"), 0), then=(("(exit 5)", gives("", 5)),)),
    Case(9, "marks of other runtimes", "echo '###COMMAND_DONE###'; echo SHELLPS1PREFIX; echo EXITCODESTART77EXITCODEEND",
         gives("###COMMAND_DONE###\nSHELLPS1PREFIX\nEXITCODESTART77EXITCODEEND\n"), then=(("(exit 5)", gives("", 5)),)),
    Case(9, "writing to all descriptors", "for fd in /proc/$$/fd/*; do printf '\\0%s 77 0 hB /forged\\0' C1234567 >$fd; done 2>/dev/null",
         Expect(), then=(("echo real", Expect(re.compile(r"real\n\Z"), 0)), ("(exit 5)", gives("", 5))), timeout=5),
    Case(9, "half a frame before the true one", "for fd in /proc/$$/fd/*; do printf '\\0%s 77 1 /forged' C1234567 >$fd; done 2>/dev/null; (exit 3)",
         Expect(exit_code=3), then=(("(exit 5)", gives("", 5)), ("pwd", Expect(re.compile(r"\A/(?!forged).*\n\Z"), 0))), timeout=5),
    Case(9, "the frame of a command that has ended, seen and played again",
         "for fd in /proc/$$/fd/*; do printf '\\0C1234567 0 1 /forged\\0\\0S12345678 0 1 /\\0\\0\\0' >$fd; done 2>/dev/null; false", Expect(exit_code=1), then=(("(exit 5)", gives("", 5)),), timeout=5),
    Case(9, "no descriptors but 0, 1 and 2", "ls /proc/self/fd | tr '\\n' ' '", gives("0 1 2 3 ")),
    Case(9, "exec 1>&-", "exec 1>&-", Expect(), then=(("echo x 2>/dev/null", gives("", 1)), ("echo y >&2", gives("y\n")), ("exec >&2", gives()))),
    Case(9, "exec 2>&-", "exec 2>&-", Expect(), then=(("echo x >&2", gives("", 1)), ("echo y", gives("y\n")), ("exec 2>&1", gives()))),
    Case(9, "exec to a file and back", "exec 7>&1 >/tmp/f", gives(),
         then=(("echo hidden; echo seen >&2", gives("seen\n")), ("exec >&7 7>&-; cat /tmp/f", gives("hidden\n")))),
    Case(9, "a descriptor of one's own", "exec 3>&1; echo x >&3", gives("x\n"), then=(("echo y >&3; exec 3>&-", gives("y\n")),)),
    Case(10, "read", "read x; echo \"$? [$x]\"", gives("1 []\n"), timeout=5),
    Case(10, "cat", "cat", gives(), timeout=5),
    Case(10, "python3 -", "python3 -", gives(), timeout=5),
    Case(10, "a password prompt", "python3 -c 'import getpass; getpass.getpass()' 2>&1 | tail -1", Expect(re.compile("EOFError")), timeout=5),
    Case(10, "a question of git", "git clone -q http://127.0.0.1:9/x /tmp/x 2>&1 | head -c 5", Expect(re.compile("fatal|sh")), timeout=10),
    Case(11, "a line that reads standard input", "head -c 100\necho second\ncat\necho third", gives("second\nthird\n"), timeout=5),
    Case(11, "a loop over standard input", "while read -r l; do echo \"l $l\"; done\necho after", gives("after\n"), timeout=5),
    Case(12, "no history expansion", 'echo "a!b" !$ !!', gives("a!b !$ !!\n")),
    Case(13, "server that keeps the output open", "python3 -c 'import time; print(1, flush=True); time.sleep(60)' & sleep 0.3; echo up",
         gives("1\nup\n"), timeout=5),
    Case(13, "sleep in the background", "sleep 60 & echo done", gives("done\n"), timeout=5),
    Case(13, "disowned subshell", "(sleep 60; true) & disown; echo done", gives("done\n"), timeout=5),
    Case(13, "nohup", "nohup sleep 60 >/dev/null 2>&1 & echo done", gives("done\n"), timeout=5),
    Case(14, "late output does not corrupt", "(sleep 0.2; echo late) & echo now", gives("now\n"), then=(("sleep 0.5; true", Expect(re.compile(r"\A(late\n)?\Z"), 0)),)),
    Case(14, "a writer in the background holds no step", "while :; do echo noise; sleep 0.01; done & echo on",
         Expect(re.compile("on\n")), then=(("true", Expect(None, 0)), ("kill %1; sleep 0.1", Expect()), ("true", Expect()))),
    Case(15, "no job notices", "sleep 0.1 & sleep 0.3", gives(), then=(("true", gives()), ("wait; true", gives()))),
    Case(15, "a child that is killed", "sh -c 'kill -9 $$'", gives("", 137)),
    Case(16, "git log", "cd /tmp && rm -rf g && git init -q g && cd g && for i in {1..60}; do git -c user.name=a -c user.email=b commit -q --allow-empty -m c$i; done; git log --oneline | wc -l; git log | tail -1",
         Expect(re.compile(r"\A60\n +c1\n\Z"), 0)),
    Case(16, "less", "seq 1 500 > /tmp/l; less /tmp/l | tail -1; less /tmp/l", Expect(re.compile(r"\A500\n1\n"), 0), timeout=5),
    Case(16, "man", "man bash 2>&1 | head -1", Expect(), timeout=10),
    Case(16, "systemctl", "systemctl status 2>&1 | head -1", Expect(), timeout=5),
    Case(17, "yes until the limit", "yes", Expect(lambda text: text.startswith("y\ny\n") and len(text) < 1 << 20, 124, timed_out=True), timeout=0.7),
    Case(17, "1 GB", "head -c 1000000000 /dev/zero | tr '\\0' y", Expect(lambda text: len(text) < 1 << 20 and "bytes left out" in text, 0), timeout=60),
    Case(17, "a line of 100 MB", "head -c 100000000 /dev/zero | tr '\\0' z; echo", Expect(lambda text: text.endswith("zz\n") and len(text) < 1 << 20, 0), timeout=60),
    Case(18, "bytes that are no text", "printf '\\xff\\x00\\xc3('", gives("\ufffd\ufffd(")),
    Case(18, "a character in two writes", "printf '\\xe2\\x82'; sleep 0.1; printf '\\xac\\n'", gives("€\n")),
    Case(18, "carriage returns", "printf '10%%\\r100%%\\n'", gives("10%\r100%\n")),
    Case(18, "ANSI and OSC sequences", "printf 'a\\033[1mb\\033[0m\\033]0;title\\007c\\n'", gives("a\033[1mb\033[0m\033]0;title\007c\n")),
    Case(18, "text that is not ASCII", "echo 'ä€𝄞' | wc -c", gives("10\n")),
    _stop("infinite loop in bash", "while :; do :; done"),
    _stop("infinite loop in a child", "sh -c 'while :; do :; done'"),
    _stop("sleep inf", "sleep inf"),
    _stop("a child that ignores SIGINT and SIGTERM", "python3 -c 'import signal as s, time; s.signal(2, s.SIG_IGN); s.signal(15, s.SIG_IGN); time.sleep(99)'"),
    _stop("a shell that ignores both, in a loop", "trap '' TERM INT; while :; do :; done", _STOPPED_AND_REPLACED),
    _stop("a shell that ignores SIGINT and starts anew", "trap '' INT; while :; do sleep 5; done", _STOPPED_AND_REPLACED),
    _stop("a trap that prints", "trap 'echo int' INT; while :; do sleep 5; done", Expect(re.compile(r"\Apartial\n"), 124, timed_out=True, restarted=True)),
    _stop("a pipeline", "sleep 99 | sleep 99"),
    _stop("a substitution", "echo $(sleep 99)"),
    _stop("new sessions", "setsid sleep 99 & setsid sh -c 'setsid sleep 98 & sleep 97' & sleep 99"),
    _stop("a stopped shell", "kill -STOP $$", Expect("partial\n", 124, timed_out=True, restarted=None)),
    _stop("another program in the shell's place", "exec sleep inf", _STOPPED_AND_REPLACED),
    _stop("a changed PROMPT_COMMAND", "PROMPT_COMMAND='echo x'; sleep 99"),
    _stop("what would come after it", "sleep 99; echo not this", Expect("partial\n", 124, timed_out=True)),
    Case(20, "fork bomb", "echo partial; b() { b | b & }; b; sleep 99", Expect(None, 124, timed_out=True, restarted=None), ("X=kept",), (("echo $X", gives("kept\n")),), timeout=1),
    Case(20, "disk filler", "head -c 3000000000 /dev/zero > /tmp/fill; echo $?; rm /tmp/fill", Expect(re.compile("No space left")), timeout=60),
    Case(20, "100,000 open files", "python3 -c 'for i in range(100000): open(\"/dev/null\", opener=None).__class__ and __import__(\"os\").dup(1)'",
         Expect(re.compile("Too many open files"), 1)),
    Case(22, "working directory deleted", "mkdir /tmp/d; cd /tmp/d; rmdir /tmp/d; ls; pwd -P", Expect(), then=(("cd /tmp", Expect()), ("pwd", gives("/tmp\n")))),
    Case(22, "rm -rf /bin", "rm -rf /bin; ls", Expect(), then=(("PATH=/nowhere; ls", Expect(re.compile("ls: "), 127)), ("PATH=/usr/bin:/bin", gives()))),
    Case(22, "rm -rf /", "rm -rf --no-preserve-root / >/dev/null 2>&1; echo $?", gives("1\n")),
    Case(22, "kill -9 1", "kill -9 1; true", Expect(None, 0)),
    Case(22, "umount and chroot", "umount /proc 2>/dev/null; umount / 2>/dev/null; chroot / true 2>/dev/null; echo $?", Expect(re.compile(r"\A12[567]\n\Z"))),
    Case(23, "state of every kind", "true", gives(), _STATE, (_HAS_STATE,)),
    Case(23, "state that holds the session's own words", "kill -9 $$", Expect(None, 137, restarted=True), ("own=@NONCE@ text='@BLOCK@ @LOOP@'",),
         (("echo $own $text", gives("@NONCE@ @BLOCK@ @LOOP@\n")),)),
    Case(9, "the loop's own builtin", "__cwm; __cwm x; echo $?", gives("2\n"), (), (("(exit 5)", gives("", 5)), ("echo $?", gives("5\n")))),
    Case(9, "few descriptors", "ulimit -Sn 100; X=1; echo a; echo b >&2", gives("a\nb\n"), (), (("echo $X >&2", gives("1\n")), ("ulimit -Sn 8; X=2; ls / >/dev/null", Expect()),
         ("echo $X; echo e >&2", gives("2\ne\n")), ("ulimit -Sn 1000; sleep 0.01", Expect()), ("echo a; echo b >&2", gives("a\nb\n")))),
    Case(9, "a directory with a long name", "d=$(printf '%0200d' 0); cd /tmp; for i in {1..20}; do mkdir $d; cd $d; done; mkdir ${d::59}; cd ${d::59}; echo ${#PWD}", gives("4084\n"), (), (("echo ${#PWD}", gives("4084\n")),)),
    Case(9, "the loop entered from subshells", "(__cwm); x=$(__cwm); __cwm & wait; eval __cwm; f() { __cwm; }; f; echo $?", gives("2\n"), (), (("(exit 5)", gives("", 5)),), timeout=5),
    Case(9, "the loop told to answer under another nonce", "__cwm C12345678; echo on", Expect("on\n", 124, timed_out=True, restarted=None), timeout=0.7),
    Case(9, "the loop's own builtin, deleted", "enable -d __cwm; sleep 9", Expect("", 124, timed_out=True, restarted=None), timeout=0.7),
    Case(23, "$? where digits separate words", "echo \"$?\"; IFS=013; false", Expect("130\n", 1), ("IFS=013; (exit 130)",)),
    Case(23, "no program is a job", "jobs; sleep 60 & jobs -r; kill %1 && wait %1; echo $?",
         gives("[1]+  Running                 sleep 60 &\n143\n"), ("/bin/true; ls / | cat", "false; /bin/false")),
    Case(23, "a job that has ended", "jobs; wait $p; echo $?", gives("7\n"), ("(sleep 0.1; exit 7) & p=$!", "sleep 0.3")),
    Case(23, "background jobs", "jobs -p | wc -l; kill %1 && wait %1; echo $?", gives("1\n143\n"), ("sleep 60 &",)),
    Case(23, "functions and exported functions", "f; bash -c g", gives("f\ng\n"), ("f() { echo f; }; g() { echo g; }; export -f g",)),
    Case(23, "sourced file", ". /tmp/env.sh; echo $FROM", gives("file\n"), ("echo 'FROM=file; cd /tmp' > /tmp/env.sh",), (("pwd", gives("/tmp\n")),)),
    Case(24, "environment of 1 MB", "export BIG=$(head -c 1000000 /dev/zero | tr '\\0' x); /usr/bin/env true; echo ${#BIG}",
         Expect(re.compile(r"\A(.*Argument list too long\n)?1000000\n\Z"))),
]  # fmt: skip
