"""Does the program in a terminal's foreground wait for its user? A shell in the sandbox asks ``/proc``."""

from __future__ import annotations

import os
from enum import Enum

from cwm_env.session.blocking import BashSession

# Numbers of system calls (read; poll, select, epoll and their kin), as /proc/PID/syscall gives them.
_READ = {"x86_64": "0", "aarch64": "63"}
_POLL = {"x86_64": "7|23|270|271|232|281", "aarch64": "72|73|22"}

# $1 is the shell in the terminal, $2 the program that holds the terminal's other end. A process waits for its user if
# it sleeps in a read of a character device (of these only a terminal makes wait), or in a poll of whatever.
_ASK = r"""__ask() {
local line f group p call fd busy=0 waits=0 unknown=0
IFS= read -r line </proc/$1/stat || return; f=(${line##*) }); group=${f[5]}
for p in /proc/[0-9]*; do
  IFS= read -r line <$p/stat || continue; f=(${line##*) })
  [[ ${f[2]} == "$group" || $p == /proc/$2 ]] || continue
  case ${f[0]} in R|D) busy=1; continue;; S) ;; *) continue;; esac
  [[ $p == /proc/$2 ]] && continue
  read -r call fd line <$p/syscall || { unknown=1; continue; }
  case $call in @READ@) [[ -c /proc/${p#/proc/}/fd/$((fd)) ]] && waits=1;; @POLL@) waits=1;; running) busy=1;; esac
done
echo "$busy $waits $unknown"; } 2>/dev/null"""


class Foreground(Enum):
    """What the program in the foreground does."""

    WAITS = "waits"
    """It sleeps until the user types, or until whatever else it polls for."""
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
        session.run(_ASK.replace("@READ@", _READ.get(machine, "-")).replace("@POLL@", _POLL.get(machine, "-")))

    def ask(self) -> Foreground:
        """What it does now; costs about a millisecond."""
        words = self._session.run(self._question, timeout=2.0).output.split()
        if len(words) != 3 or not self._known:
            return Foreground.UNKNOWN
        busy, waits, unknown = (word == "1" for word in words)
        if busy:
            return Foreground.WORKS
        if waits:
            return Foreground.WAITS
        return Foreground.UNKNOWN if unknown else Foreground.WORKS
