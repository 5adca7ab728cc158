"""What the context of ``on_give_up`` refuses: the message is given up, so nothing of it can commit or go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tasuki import App, Context, Reject
from tasuki.errors import HandlerError

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("is_plain", [False, True], ids=["async", "plain"])
async def test_no_transaction_and_no_steps(is_plain: bool, tmp_path: Path) -> None:
    app, problems = App(f"sqlite:///{tmp_path}/queue.db"), list[str]()
    jobs = app.queue("jobs", dead_letter={"queue": "dead"})
    dead = app.queue("dead")
    ends = app.queue("ends")

    def refused(call: Callable[[], object]) -> None:
        with pytest.raises(HandlerError) as told:
            call()
        assert (told.value.kind, told.value.retryable) == ("Invalid", False)
        problems.append(told.value.message)

    def plain(context: Context) -> None:
        def enter() -> None:
            with context.sync.transaction():
                raise AssertionError

        refused(enter)
        refused(lambda: context.sync.step("one", int))
        refused(lambda: context.sync.group([jobs.message(1)], then=ends, name="all"))
        refused(context.ack)
        context.sync.group([ends.message(1)], then=ends)

    async def forget(context: Context) -> None:
        for call in (
            context.transaction().__aenter__(),
            context.step("one", int),
            context.group([jobs.message(1)], then=ends, name="all"),
        ):
            with pytest.raises(HandlerError) as told:
                await call
            problems.append(told.value.message)
        refused(context.ack)
        await context.group([ends.message(1)], then=ends)

    @jobs.task(on_give_up=plain if is_plain else forget)
    async def send(number: int) -> None:
        raise Reject("no")

    async with app.worker():
        await send.publish(1)
        async with asyncio.timeout(30):
            while not (await dead.depth()).ready:
                await asyncio.sleep(0.01)
        assert (await ends.depth()).ready == 1, "a group without a name is published all the same"
    transaction, step, group, ack = problems
    assert transaction.startswith("context.transaction() commits the ack of a message, and this one is given up: ")
    assert "write its rows in a transaction of your own" in transaction
    assert step == group
    assert step.startswith("steps, sleeps, waits and groups with a name are for a message that may go on, and this one")
    assert ack == "released: the handler has returned"
