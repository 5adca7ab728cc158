"""Batches whose queues are deleted meanwhile, and batches of two projects on one broker; on every driver."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tasuki import App
from tasuki.contracts.driver import Outgoing
from tasuki.errors import QueueNotFoundError
from tests.support.brokers.everywhere import DRIVERS, overrides

pytestmark = pytest.mark.anyio

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite%(state)s}
  - {name: keeper, kind: queue.driver.sqlite, path: keeper.db}
  - {name: state, kind: store.sqlite, driver: keeper}
  - {name: jobs, kind: queue.queue, driver: driver, queue_name: jobs_%(id)s, dead_letter: {queue: dead}, lease: 5s}
  - {name: mails, kind: queue.queue, driver: driver, queue_name: mails_%(id)s, dead_letter: {queue: dead}, lease: 5s}
  - {name: dead, kind: queue.queue, driver: driver, queue_name: dead_%(id)s, lease: 5s}
"""
LETTERS = 10
"""Of each queue."""


def load(folder: Path, driver: str, id: str) -> App:
    """A project whose queues have this id in their names at the broker."""
    state = ", state: state" if driver in ("amqp", "sqs") else ""
    (folder / "_index.yaml").write_text(PROJECT % {"id": id, "state": state})
    return App.load(folder, overrides=overrides(driver, "app:driver", folder))


async def bury(app: App) -> None:
    for name in ("jobs", "mails"):
        headers: dict[str, Any] = {"x_original_queue": f"app:{name}", "x_last_error": "E: no"}
        letters = [Outgoing(f"{name}{n}", b"{}", dict(headers)) for n in range(LETTERS)]
        assert not any(await app._runtime.queue("app:dead").forward(letters))


async def clean(app: App, *queues: str) -> None:
    for name in queues:
        await app._runtime.queue(f"app:{name}").delete()


@pytest.mark.parametrize("by_another", [False, True])
@pytest.mark.parametrize("driver", DRIVERS)
async def test_letters_whose_queue_is_gone_stay_and_the_others_move(
    driver: str, by_another: bool, tmp_path: Path
) -> None:
    if by_another and driver == "memory":
        pytest.skip("a queue in memory is seen by its own process only")
    id = uuid4().hex[:8]
    async with load(tmp_path, driver, id) as app, load(tmp_path, driver, id) as another:
        await bury(app)
        await clean(another if by_another else app, "jobs")
        batch = await app.dead.batches.begin("retry", "app:dead", rate=0, canary=None)
        batch = await app.dead.batches.wait(batch.id)
        if batch.done == 2 * LETTERS:  # the broker has made the queue again
            assert (await app._runtime.queue("app:jobs").depth()).ready == LETTERS
        else:
            assert (batch.state, batch.done, batch.stayed, batch.unsure) == ("done", LETTERS, LETTERS, 0)
            assert f"jobs_{id}" in batch.problem or driver == "sqs"
        assert (await app._runtime.queue("app:mails").depth()).ready == LETTERS
        assert (await app._runtime.queue("app:dead").depth()).message_count == 2 * LETTERS - batch.done
        await clean(app, "mails", "dead")


@pytest.mark.parametrize("driver", ["sqlite", "postgres", "redis", "nats"])
async def test_each_project_sees_its_own_batches(driver: str, tmp_path: Path) -> None:
    ids = [uuid4().hex[:8] for _ in range(2)]
    async with load(tmp_path, driver, ids[0]) as mine, load(tmp_path, driver, ids[1]) as other:
        for app in (mine, other):
            await bury(app)
        first = await mine.dead.batches.wait((await mine.dead.batches.begin("delete", "app:dead", rate=0)).id)
        await other.dead.batches.wait((await other.dead.batches.begin("retry", "app:dead", rate=0)).id)
        assert [each.id for each in await mine.dead.batches.list()] == [first.id]
        assert [each.act for each in await other.dead.batches.list()] == ["retry"]
        assert (await other.dead.batches.get(first.id)).name == f"dead_{ids[0]}"
        for app in (mine, other):
            await clean(app, "jobs", "mails", "dead")


async def test_a_source_that_is_gone_ends_the_batch(tmp_path: Path) -> None:
    async with load(tmp_path, "sqlite", uuid4().hex[:8]) as app:
        await bury(app)
        batch = await app.dead.batches.begin("retry", "app:dead", rate=0, canary=None, drive=False)
        await clean(app, "dead")
        with pytest.raises(QueueNotFoundError):
            await app._runtime.queue("app:dead").depth()
        await app.dead.batches.resume(batch.id)
        ended = await app.dead.batches.wait(batch.id)
        assert (ended.state, ended.done) == ("failed", 0)
        assert ended.name in ended.problem
