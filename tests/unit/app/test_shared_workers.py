"""Shared workers and selected queues in a running app: limits, reload, status, dump."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.assembly import Assembly
from tasuki.app.health.health import status_of
from tasuki.app.lifecycle.running import dump
from tasuki.errors import SelectionError
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.selection import ALL
from tests.unit.app.project import DONE, SECOND, Yaml, live, reload

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

TWO = """
import asyncio
from tests.unit.app.project import DONE

now = most = 0

async def handle(body):
    global now, most
    now, most = now + 1, max(most, now + 1)
    await asyncio.sleep(1)
    now -= 1
    DONE.append((most, body))
"""


@pytest.fixture
def busy(make_app: Callable[..., App]) -> App:
    """Two queues whose handlers take a second, with two shared workers; ``most`` ran at a time."""
    app = make_app()
    mails, reports = app.queue("mails"), app.queue("reports")
    app.seen = seen = {"now": 0, "most": 0}  # type: ignore[attr-defined]

    async def handle(body: Any) -> None:
        seen["now"] += 1
        seen["most"] = max(seen.values())
        await asyncio.sleep(1)
        seen["now"] -= 1

    mails.consumer(handle)
    reports.consumer(handle)
    assert app.workers.pool("pool", [mails, "reports"], concurrency=2, weights={"mails": 3}, order="weighted")
    return app


def most_of(app: App) -> int:
    seen: dict[str, int] = app.seen  # type: ignore[attr-defined]
    return seen["most"]


async def publish(app: App, count: int = 5) -> None:
    for name in ("mails", "reports"):
        await app.queue(name).publish_many(list(range(count)))


@pytest.mark.parametrize(("selected", "most"), [(None, 2), (3, 3)], ids=["the pool", "one pool for everything"])
async def test_one_number_for_two_queues(busy: App, selected: int | None, most: int) -> None:
    if selected is not None:
        busy.select(concurrency=selected)
    await busy.open()
    await publish(busy)
    await busy.run(until_empty=True)
    assert most_of(busy) == most


async def test_queues_that_are_not_selected_are_left_alone(busy: App) -> None:
    busy.select(busy.queue("mails"))
    async with busy.worker():
        await publish(busy)
        await asyncio.sleep(10)
        depths = [(await busy.queue(name).depth()).ready for name in ("mails", "reports")]
    assert depths == [0, 5]


async def test_what_is_selected_is_what_the_check_returns(busy: App) -> None:
    busy.select("mails", busy.queue("reports"), excluded=[busy.queue("mails")])
    assert [config.queue for config in busy.check().of(ConsumerConfig).values()] == ["app:reports"]
    busy.select()
    assert len(busy.check().of(ConsumerConfig)) == 2
    busy.select("mial")
    with pytest.raises(SelectionError, match="queue 'mial' is not defined; did you mean 'mails'"):
        await busy.open()


async def test_status_and_dump_show_them(busy: App, capsys: pytest.CaptureFixture[str]) -> None:
    busy.select(excluded=["reports"])
    async with busy.worker():
        await publish(busy)
        await asyncio.sleep(0.5)
        status = status_of(busy._runtime.assembly)
        assert status["workers"] == {"app:pool": {"concurrency": 2, "running": 2, "queues": ["app:mails"]}}
        assert list(status["consumers"]) == ["app:handle.consumer"]
        dump(busy._runtime, None)
    assert "app:pool: 2 of 2 shared workers are busy" in capsys.readouterr().err


async def test_a_queue_whose_consumer_is_gone_ends_no_process(app: App, yaml: Yaml) -> None:
    """A reload without the selected consumer is refused, and the old version goes on."""
    app.select("dead")
    with pytest.raises(
        SelectionError, match="queue 'app:dead' has no consumer to run; the project consumes: app:tasks"
    ):
        await reload(app, yaml)
    assert live(app).consumers["app:consumer"].now.is_consuming


@pytest.fixture
async def shared(app: App, yaml: Yaml) -> Yaml:
    """The running project with two consumers and one worker for both."""
    yaml.source(TWO)
    pool = "{name: pool, kind: queue.worker, queues: [tasks, dead], concurrency: 1}"
    yaml.more = f"{SECOND}\n  - {pool}"
    await reload(app, yaml)
    return yaml


async def drained(app: App, count: int = 4) -> list[Any]:
    """Publish to both queues; how many handlers ran at a time, for each message."""
    DONE.clear()
    for name in ("tasks", "dead"):
        await app.queue(name).publish_many(list(range(count)))
    while len(DONE) < 2 * count:
        await asyncio.sleep(0.1)
    return [most for most, _ in DONE]


async def test_workers_become_shared_in_a_running_app(app: App, shared: Yaml) -> None:
    assert max(await drained(app)) == 1


async def test_a_change_of_their_number(app: App, shared: Yaml) -> None:
    before = dict(live(app).consumers)
    shared.more = shared.more.replace("concurrency: 1", "concurrency: 3")
    changes = await reload(app, shared)
    assert changes.changed == {"app:pool"}
    assert all(live(app).consumers[id] is not consumer for id, consumer in before.items())
    assert max(await drained(app)) == 3


async def test_they_go_on_when_something_else_changes(app: App, shared: Yaml) -> None:
    workers, consumers = live(app).workers["app:pool"], dict(live(app).consumers)
    shared.more += "\n  - {name: other, kind: queue.queue, driver: driver}"
    await reload(app, shared)
    assert live(app).workers["app:pool"] is workers
    assert dict(live(app).consumers) == consumers


@pytest.mark.parametrize(("concurrency", "is_kept"), [(4, True), (9, False)])
async def test_a_function_gets_as_many_threads_as_its_consumers_may_use(
    app: App, shared: Yaml, concurrency: int, is_kept: bool
) -> None:
    """Each of its consumers may use all workers; a function that has enough threads goes on."""
    handler = live(app).handlers["app:handle"]
    shared.more = shared.more.replace("[tasks, dead], concurrency: 1", f"[tasks], concurrency: {concurrency - 1}")
    await reload(app, shared)
    assert (live(app).handlers["app:handle"] is handler) == is_kept
    assert live(app).consumers["app:second"].handler is live(app).handlers["app:handle"]
    assert live(app).handlers["app:handle"]._threads._size == concurrency


async def test_without_them_each_consumer_has_its_own(app: App, shared: Yaml) -> None:
    shared.more = SECOND
    await reload(app, shared)
    assert live(app).workers == {}
    assert max(await drained(app)) == 2


async def test_a_refused_change_leaves_the_old_ones(app: App, shared: Yaml) -> None:
    workers = live(app).workers["app:pool"]
    shared.more = shared.more.replace("concurrency: 1", "concurrency: 0")
    with pytest.raises(Exception, match="concurrency must be at least 1"):
        await reload(app, shared)
    assert live(app).workers["app:pool"] is workers
    assert max(await drained(app)) == 1


async def test_what_the_command_line_asks_for_outlives_a_reload(app: App, shared: Yaml) -> None:
    app.select(concurrency=2)
    shared.version("v2")
    shared.source(TWO)
    shared.more += "\n  - {name: other, kind: queue.queue, driver: driver}"
    await reload(app, shared)
    workers = live(app).workers[ALL]
    shared.more += "\n  - {name: another, kind: queue.queue, driver: driver}"
    await reload(app, shared)
    assert live(app).workers == {ALL: workers}
    assert max(await drained(app)) == 2


async def test_threads_for_all_shared_workers(tmp_path: Path) -> None:
    app = App("memory://", root=tmp_path)
    queue = app.queue("mails")

    @queue.consumer
    def handle(body: Any) -> None:
        """Runs in a thread."""

    app.workers.pool("pool", [queue], concurrency=9)
    assembly = Assembly(app.check(), clock=app._runtime.clock, keeper=app._runtime.keeper)
    assert assembly._threads("app:handle") == 9
