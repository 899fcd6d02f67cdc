"""Runs in SWE-ReX's own environment: its Docker deployment, timed.

    python peer_docker.py IMAGE ROUNDS [--host-network]

The image holds its server. Prints one JSON object of medians in milliseconds: ``create`` (until its server answers),
``first command`` (a session, and a command in it), ``step`` and ``destroy``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import statistics
import sys
import time
from collections.abc import Awaitable
from typing import Any

_PORT = 8000  # of its server, inside; the same outside where the machine's network is shared
_STEPS = 5


async def once(image: str, seen: dict[str, list[float]], *, host_network: bool) -> None:
    """One container, from its start to its end."""
    from swerex.deployment.docker import DockerDeployment  # type: ignore[import-not-found]
    from swerex.runtime.abstract import BashAction, CreateBashSessionRequest  # type: ignore[import-not-found]

    async def timed(name: str, work: Awaitable[Any]) -> None:
        started = time.perf_counter()
        await work
        seen.setdefault(name, []).append((time.perf_counter() - started) * 1000)

    async def first() -> None:
        await deployment.runtime.create_session(CreateBashSessionRequest())
        await deployment.runtime.run_in_session(BashAction(command="true"))

    network: dict[str, Any] = {"docker_args": ["--network=host"], "port": _PORT} if host_network else {}
    deployment = DockerDeployment(image=image, pull="never", startup_timeout=60, **network)
    try:
        await timed("create", deployment.start())
        await timed("first command", first())
        for _ in range(_STEPS):
            await timed("step", deployment.runtime.run_in_session(BashAction(command="true")))
    finally:
        await timed("destroy", deployment.stop())


async def main() -> None:
    """Print the medians."""
    logging.disable()
    seen: dict[str, list[float]] = {}
    for _ in range(int(sys.argv[2])):
        await once(sys.argv[1], seen, host_network="--host-network" in sys.argv)
    print(json.dumps({name: statistics.median(values) for name, values in seen.items()}))


if __name__ == "__main__":
    asyncio.run(main())
