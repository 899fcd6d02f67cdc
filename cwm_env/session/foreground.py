"""Does the program in a terminal's foreground wait for its user? A shell in the sandbox asks ``/proc``."""

from __future__ import annotations

import os
from enum import Enum

from cwm_env.session.blocking import BashSession

# What /proc/PID/syscall gives for a sleeping process: a call's number, and its arguments. Of each call the number, and
# which argument (from 1) says how long it waits: a number of milliseconds or an address, all ones or 0 for ever.
_READ = {"x86_64": "0", "aarch64": "63"}
_POLLS = {
    "x86_64": {"7": 3, "23": 5, "270": 5, "271": 3, "232": 4, "281": 4},  # poll select pselect6 ppoll epoll_wait _pwait
    "aarch64": {"72": 5, "73": 3, "22": 4},  # pselect6 ppoll epoll_pwait
}

# $1 is the shell in the terminal, $2 the program that holds the terminal's other end. A process waits for its user if
# it sleeps in a read of a character device (of these only a terminal makes wait), or in a poll of whatever. What was
# typed reaches it through a worker of the kernel's; a look at the terminal's input waits for that worker. Without it,
# a program whose keys are on their way would seem to wait still.
_ASK = r"""__ask() {
local line f group p call busy=0 waits=0 dozes=0 unknown=0
read -r -t 0 </proc/$1/fd/0
IFS= read -r line </proc/$1/stat || return; f=(${line##*) }); group=${f[5]}
for p in /proc/[0-9]*; do
  IFS= read -r line <$p/stat || continue; f=(${line##*) })
  [[ ${f[2]} == "$group" || $p == /proc/$2 ]] || continue
  case ${f[0]} in R|D) busy=1; continue;; S) ;; *) continue;; esac
  [[ $p == /proc/$2 ]] && continue
  read -r -a call <$p/syscall || { unknown=1; continue; }
  case $call in
    @READ@) [[ -c $p/fd/$((call[1])) ]] && waits=1;;
    @POLLS@
    running) busy=1;;
  esac
done
echo "$busy $waits $dozes $unknown"; } 2>/dev/null"""
_POLL = "@NUMBER@) case ${call[@AT@]} in 0x0|0xffffffff|0xffffffffffffffff) waits=1;; *) dozes=1;; esac;;"


class Foreground(Enum):
    """What the program in the foreground does."""

    WAITS = "waits"
    """It sleeps until the user types, or until whatever else it polls for."""
    DOZES = "dozes"
    """It sleeps until the user types, or some time has passed."""
    WORKS = "works"
    UNKNOWN = "unknown"
    """The sandbox does not let us see."""


class ForegroundWatch:
    """Asks about one terminal, through a session of its own."""

    def __init__(self, session: BashSession, shell: int, holder: int) -> None:
        """``shell`` and ``holder`` are process ids in the sandbox: of bash in the terminal, and of who made it."""
        machine = os.uname().machine
        self._session = session
        self._known = machine in _READ
        self._question = f"__ask {shell} {holder}"
        polls = [
            _POLL.replace("@NUMBER@", call).replace("@AT@", str(at)) for call, at in _POLLS.get(machine, {}).items()
        ]
        session.run(_ASK.replace("@READ@", _READ.get(machine, "-")).replace("@POLLS@", "\n".join(polls)))

    def ask(self) -> Foreground:
        """What it does now; costs about a millisecond."""
        words = self._session.run(self._question, timeout=2.0).output.split()
        if len(words) != 4 or not self._known:
            return Foreground.UNKNOWN
        busy, waits, dozes, unknown = (word == "1" for word in words)
        if busy:
            return Foreground.WORKS
        if waits or dozes:
            return Foreground.WAITS if waits else Foreground.DOZES
        return Foreground.UNKNOWN if unknown else Foreground.WORKS
