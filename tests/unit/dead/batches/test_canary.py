"""A retry stops if its first letters come back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki import App
from tasuki.app.handle import QueueHandle
from tasuki.errors import BatchStateError
from tests.unit.dead.batches.letters import bury, ids, many

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True
HANDLED: list[str] = []
Queues = dict[str, QueueHandle[Any]]


def consuming(jobs: QueueHandle[Any], bad: int) -> None:
    """Of each ten messages this many fail."""
    HANDLED.clear()

    async def handle(body: dict[str, int]) -> None:
        if body["n"] % 10 < bad:
            raise KeyError("still")
        HANDLED.append(str(body["n"]))

    jobs.consumer(concurrency=5)(handle)


async def bury_numbers(app: App, number: int) -> None:
    for n, id in enumerate(many(number)):
        await bury(app, id, body=f'{{"n": {n}}}')


async def test_more_than_ten_of_the_first_fifty(app: App, queues: Queues) -> None:
    consuming(queues["jobs"], 3)
    async with app.worker():
        await bury_numbers(app, 200)
        batch = await app.dead.batches.wait((await app.dead.batches.begin("retry", "dead", rate=0)).id)
        assert (batch.state, batch.done, batch.returned_first) == ("stopped", 50, 15)
        assert "15 of the first 50 letters failed again, more than 10" in batch.problem
        assert batch.as_dict()["left"] == 150
        await app.dead.batches.resume(batch.id)
        batch = await app.dead.batches.wait(batch.id)
        assert (batch.state, batch.done, batch.canary) == ("done", 200, None)
        with pytest.raises(BatchStateError):
            await app.dead.batches.resume(batch.id)
        await asyncio.sleep(5)
        assert len(HANDLED) == 140
        assert len(await ids(app, "dead")) == 60, "none of those that came back is tried again"


async def test_less_than_that_goes_on_at_once(app: App, queues: Queues) -> None:
    consuming(queues["jobs"], 1)
    async with app.worker():
        await bury_numbers(app, 200)
        began = app._runtime.clock.monotonic()
        batch = await app.dead.batches.wait((await app.dead.batches.begin("retry", "dead", rate=0, canary=5)).id)
        assert app._runtime.clock.monotonic() - began < 5.0
        assert (batch.state, batch.done) == ("done", 200)
        [again] = [each for each in await app._runtime.queue("dead").peek(1) if each.id == "m0000"]
        assert again.headers["x_batch"] == batch.id


async def test_letters_that_nobody_handles_are_waited_for_a_while(app: App) -> None:
    async with app:
        await bury(app, *many(60))
        began = app._runtime.clock.monotonic()
        batch = await app.dead.batches.wait((await app.dead.batches.begin("retry", "dead", rate=0)).id)
        assert (batch.state, batch.done) == ("done", 60)
        assert 10.0 <= app._runtime.clock.monotonic() - began < 12.0
        began = app._runtime.clock.monotonic()
        await app.dead.batches.wait((await app.dead.batches.begin("move", "jobs", to="dead", rate=0)).id)
        await app.dead.batches.wait((await app.dead.batches.begin("retry", "dead", rate=0, canary=None)).id)
        assert app._runtime.clock.monotonic() - began < 2.0


async def test_those_that_fail_later_are_counted_while_it_runs(app: App, queues: Queues) -> None:
    consuming(queues["jobs"], 1)
    async with app.worker():
        await bury_numbers(app, 300)
        batch = await app.dead.batches.wait((await app.dead.batches.begin("retry", "dead", rate=50)).id)
        assert (batch.done, batch.state) == (300, "done")
        assert 25 <= batch.returned <= 30
