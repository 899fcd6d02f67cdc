"""When steps begin: in their order, the tenants by turns, a few at once, and a slow one holds nobody up."""

from __future__ import annotations

import asyncio

from cwm_env.server import pace as module
from cwm_env.server.pace import Pace


def fill(pace: Pace) -> list[str]:
    full = [f"first {number}" for number in range(module._AT_ONCE)]
    for name in full:
        pace.enter("a", name, lambda: None)
    return full


def test_first_come_first_served_and_the_tenants_take_turns() -> None:
    async def course() -> list[str]:
        pace, begun = Pace(), []
        full = fill(pace)
        for tenant, count in (("a", 4), ("b", 2), ("c", 1)):
            for number in range(count):
                name = f"{tenant}{number}"
                pace.enter(tenant, name, lambda name=name: begun.append(name))  # type: ignore[misc]
        assert begun == [] and pace.waiting == 7
        for name in full[:7]:
            pace.leave(name)
        return begun

    assert asyncio.run(course()) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_steps_that_take_long_hold_nobody_up() -> None:
    async def course() -> None:
        pace, begun = Pace(), asyncio.Event()
        fill(pace)  # and none of these ever ends
        pace.enter("a", "next", begun.set)
        assert not begun.is_set()
        await asyncio.wait_for(begun.wait(), 60)

    asyncio.run(course())


def test_steps_that_end_at_once_are_no_tower_of_calls() -> None:
    async def course() -> int:
        pace, count = Pace(), 0
        full = fill(pace)

        def end(name: str) -> None:
            nonlocal count
            count += 1
            pace.leave(name)

        for number in range(5000):
            pace.enter("a", str(number), lambda name=str(number): end(name))  # type: ignore[misc]
        for name in full:
            pace.leave(name)
        return count

    assert asyncio.run(course()) == 5000
