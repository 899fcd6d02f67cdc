"""Runs in a peer's own environment: a shell of that peer, asked in lines of JSON on standard input.

A request holds ``command`` and ``timeout`` (seconds); with ``repeat`` it is run that many times, and the answer holds
the ``seconds`` of each. Otherwise the answer holds ``output``, ``exit_code``, ``timed_out`` and ``restarted``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any


class MiniSweAgent:
    """Its local environment: a new shell for every command."""

    async def start(self) -> None:
        from minisweagent.environments.local import LocalEnvironment  # type: ignore[import-not-found]

        self._environment = LocalEnvironment()

    async def run(self, command: str, timeout: float) -> dict[str, Any]:
        done = self._environment.execute({"command": command}, timeout=timeout)
        timed_out = "TimeoutExpired" in str(done.get("extra"))
        return {"output": done["output"], "exit_code": done["returncode"], "timed_out": timed_out, "restarted": False}


class SweRex:
    """Its local runtime with one session of bash; interrupted at a time-out, and opened anew when it is lost."""

    async def start(self) -> None:
        from swerex.runtime.local import LocalRuntime  # type: ignore[import-not-found]

        self._runtime = LocalRuntime()
        await self._open()

    async def _open(self) -> None:
        from swerex.runtime.abstract import CreateBashSessionRequest  # type: ignore[import-not-found]

        await self._runtime.create_session(CreateBashSessionRequest())

    async def run(self, command: str, timeout: float) -> dict[str, Any]:
        from swerex.exceptions import BashIncorrectSyntaxError, CommandTimeoutError  # type: ignore[import-not-found]
        from swerex.runtime.abstract import BashAction, BashInterruptAction

        try:
            done = await self._runtime.run_in_session(BashAction(command=command, timeout=timeout, check="silent"))
        except CommandTimeoutError:
            try:
                await self._runtime.run_in_session(BashInterruptAction())
                restarted = False
            except Exception:
                restarted = await self._reopen()
            return {"output": "", "exit_code": 124, "timed_out": True, "restarted": restarted}
        except BashIncorrectSyntaxError as error:
            return {"output": str(error), "exit_code": 2, "timed_out": False, "restarted": False}
        except Exception as error:
            return {"output": str(error), "exit_code": -1, "timed_out": False, "restarted": await self._reopen()}
        return {"output": done.output, "exit_code": done.exit_code, "timed_out": False, "restarted": False}

    async def _reopen(self) -> bool:
        from swerex.runtime.abstract import CloseBashSessionRequest

        try:
            await self._runtime.close_session(CloseBashSessionRequest())
        except Exception:
            self._runtime.sessions.clear()
        await self._open()
        return True


async def serve(peer: MiniSweAgent | SweRex) -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the peer itself prints must not stand between the answers
    await peer.start()
    for line in sys.stdin:
        request = json.loads(line)
        command, timeout = request["command"], request.get("timeout", 30)
        if "repeat" in request:
            seconds = []
            for _ in range(request["repeat"]):
                started = time.perf_counter()
                await peer.run(command, timeout)
                seconds.append(time.perf_counter() - started)
            answer = {"seconds": seconds}
        else:
            answer = await peer.run(command, timeout)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    asyncio.run(serve(SweRex() if sys.argv[1] == "SWE-ReX" else MiniSweAgent()))
