"""Tasks run to their end without their caller; a failed block is undone."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.system.tasks import OnFailure, Tasks

pytestmark = pytest.mark.anyio


async def _result(gate: asyncio.Event, result: int) -> int:
    await gate.wait()
    if result < 0:
        raise ValueError(result)
    return result


async def test_work_goes_on_without_its_caller_and_its_result_is_handed_over() -> None:
    tasks, gate, unwanted = Tasks(), asyncio.Event(), list[int]()
    callers = [asyncio.create_task(tasks.run(_result(gate, result), unwanted.append)) for result in (1, 2, -1)]
    await asyncio.sleep(0)
    for caller in callers[1:]:
        caller.cancel()
    await asyncio.gather(*callers[1:], return_exceptions=True)
    assert len([*tasks]) == 3
    gate.set()
    await tasks.wait()
    assert await callers[0] == 1
    assert unwanted == [2], "neither a wanted result nor an error"
    assert [*tasks] == []


@pytest.mark.parametrize("turns", range(5))
async def test_who_waits_for_all_goes_on_after_their_callers(turns: int) -> None:
    """A close that came between the end of the work and its caller left what the caller then had."""
    tasks, gate, seen = Tasks(), asyncio.Event(), list[str]()

    async def call() -> None:
        await tasks.run(_result(gate, 1))
        seen.append("the caller")

    async def close() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await tasks.wait()
        seen.append("who waits")

    async with asyncio.TaskGroup() as group:
        group.create_task(call())
        await asyncio.sleep(0)
        gate.set()
        group.create_task(close())
    assert seen == ["the caller", "who waits"]


async def test_a_caller_gets_the_error() -> None:
    gate = asyncio.Event()
    gate.set()
    with pytest.raises(ValueError, match="-1"):
        await Tasks().run(_result(gate, -1))


async def test_a_wait_ends_in_time_and_tasks_can_be_cancelled() -> None:
    tasks = Tasks()
    task = tasks.start(_result(asyncio.Event(), 1), "never")
    await tasks.wait(0.0)
    assert not task.done()
    tasks.cancel()
    await tasks.wait()
    assert task.cancelled()


async def test_a_failed_or_cancelled_block_is_undone() -> None:
    undone: list[str] = []

    async def undo() -> None:
        undone.append("async")

    with OnFailure(lambda: undone.append("never")):
        pass
    with pytest.raises(KeyError), OnFailure(lambda: undone.append("sync")):
        raise KeyError
    with pytest.raises(asyncio.CancelledError):
        async with OnFailure(undo):
            raise asyncio.CancelledError
    assert undone == ["sync", "async"]
