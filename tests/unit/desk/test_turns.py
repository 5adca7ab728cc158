"""Turns: how many steps of pages run in one turn of the event loop, and how a page ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import pytest

from tasuki.desk.turns import LoopTurns

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True
T = TypeVar("T")


class Loop:
    """Counts the steps of pages in each turn of the running loop."""

    def __init__(self) -> None:
        self.steps: list[int] = [0]
        self._count()

    def _count(self) -> None:
        self.steps.append(0)
        self._next = asyncio.get_running_loop().call_soon(self._count)

    def step(self) -> None:
        self.steps[-1] += 1

    def close(self) -> None:
        self._next.cancel()


async def page(loop: Loop, woken: asyncio.Event) -> str:
    loop.step()
    await woken.wait()
    loop.step()
    await asyncio.sleep(0)
    loop.step()
    return "shown"


async def show(turns: LoopTurns, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return await turns.run(work())


async def test_a_turn_of_the_loop_has_one_step_of_one_page() -> None:
    turns, loop, woken = LoopTurns(), Loop(), asyncio.Event()
    pages = [asyncio.create_task(show(turns, partial(page, loop, woken))) for _ in range(50)]
    while sum(loop.steps) < 50:
        await asyncio.sleep(0)
    woken.set()  # all go on at once
    assert await asyncio.gather(*pages) == ["shown"] * 50
    loop.close()
    assert sum(loop.steps) == 150
    assert max(loop.steps) == 1


async def test_a_page_alone_does_not_wait() -> None:
    turns, loop, woken = LoopTurns(), Loop(), asyncio.Event()
    woken.set()
    assert await turns.run(page(loop, woken)) == "shown"
    loop.close()
    assert len(loop.steps) < 10


async def test_an_error_of_a_page_is_raised_and_others_go_on() -> None:
    async def broken() -> None:
        await asyncio.sleep(0)
        raise KeyError("queue")

    turns, loop, woken = LoopTurns(), Loop(), asyncio.Event()
    woken.set()
    failed, shown = (
        asyncio.create_task(show(turns, broken)),
        asyncio.create_task(show(turns, partial(page, loop, woken))),
    )
    with pytest.raises(KeyError):
        await failed
    assert await shown == "shown"
    loop.close()


async def test_an_error_of_what_a_page_waits_for_reaches_the_page() -> None:
    async def patient() -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.Event().wait()
        return "late"

    assert await LoopTurns().run(patient()) == "late"


@pytest.mark.parametrize("steps", range(6))
async def test_a_page_whose_client_leaves_ends_and_passes_its_turn_on(steps: int) -> None:
    """In each turn of the loop: while it waits for its turn, has just got it, or waits for something else."""
    turns, loop, woken = LoopTurns(), Loop(), asyncio.Event()
    first = asyncio.create_task(show(turns, partial(page, loop, woken)))
    leaving = [asyncio.create_task(show(turns, partial(page, loop, woken))) for _ in range(2)]
    last = asyncio.create_task(show(turns, partial(page, loop, woken)))
    for _ in range(steps):
        await asyncio.sleep(0)
    for each in leaving:
        each.cancel()
    woken.set()
    assert {*await asyncio.gather(first, last)} == {"shown"}
    for each in leaving:
        with pytest.raises(asyncio.CancelledError):
            await each
    loop.close()
