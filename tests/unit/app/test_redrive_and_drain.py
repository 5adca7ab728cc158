from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tasuki import App
from tasuki.app.lifecycle.running import wait_until_empty
from tasuki.contracts.driver import Depth, Occupancy, Outgoing
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import AccessDeniedError, BrokerUnavailableError, HeldBackError, QueueFullError, QueueNotFoundError
from tasuki.queues.queue import Queue

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

MakeApp = Callable[..., App]


def receive_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redrive as on a driver without transfers."""
    monkeypatch.setattr(MemoryDriver, "capabilities", MemoryDriver.capabilities.without("transfer", "find"))


@pytest.fixture(params=["transfer", "receive"])
def app(make_app: MakeApp, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> App:
    app = make_app()
    if request.param == "receive":
        receive_only(monkeypatch)
    app.queue("dead")
    for name in ("tasks", "other"):
        app.queue(name, dead_letter="dead")
    app.queue("full", max_length=2, overflow="reject", dead_letter="dead")
    app.queue("stranger")
    return app


async def bury(app: App, count: int, queue: str = "app:tasks", start: int = 0) -> None:
    """Put dead letters of a queue into the dead-letter queue."""
    headers: dict[str, Any] = {"x_original_queue": queue, "x_dead_letter_reason": "rejected", "attempts": 3, "mine": 1}
    letters = [Outgoing(str(number), str(number).encode(), dict(headers)) for number in range(start, start + count)]
    assert not any(await app._runtime.queue("dead").forward(letters))


async def ids(app: App, queue: str) -> list[str]:
    return [message.id for message in await app._runtime.queue(queue).peek(10_000)]


async def test_back_to_where_they_came_from_as_they_were(app: App) -> None:
    told: list[int] = []
    async with app:
        await bury(app, 450)
        assert await app.dead.redrive("dead", progress=told.append) == 450
        assert await ids(app, "dead") == []
        assert await ids(app, "tasks") == [str(number) for number in range(450)]
        (message,) = await app._runtime.queue("tasks").peek(1)
    assert (message.body, set(message.headers)) == (b"0", {"mine", "x_batch", "x_due", "x_redriven"})
    assert told == sorted(told)
    assert told[-1] == 450


async def test_a_letter_does_not_choose_a_queue_whose_letters_go_elsewhere(app: App) -> None:
    async with app:
        await bury(app, 2)
        await bury(app, 3, "app:stranger", 2)
        await bury(app, 1, "app:dead", 5)
        assert await app.dead.redrive("dead", dry_run=True) == 2
        assert await app.dead.redrive("dead") == 2
        assert await ids(app, "stranger") == []
        assert await ids(app, "dead") == ["2", "3", "4", "5"]
        assert await app.dead.redrive("dead", to="stranger", limit=3) == 3
        assert await ids(app, "stranger") == ["2", "3", "4"]


async def test_to_another_queue(app: App) -> None:
    async with app:
        await bury(app, 3)
        assert await app.dead.redrive("dead", to="other") == 3
        assert await ids(app, "other") == ["0", "1", "2"]
        with pytest.raises(QueueNotFoundError):
            await app.dead.redrive("dead", to="nowhere")


async def test_no_more_than_the_limit_in_order(app: App) -> None:
    async with app:
        await bury(app, 5)
        assert await app.dead.redrive("dead", limit=2) == 2
        assert await ids(app, "tasks") == ["0", "1"]
        assert await ids(app, "dead") == ["2", "3", "4"]
        assert await app.dead.redrive("dead", limit=0) == 0


async def test_those_with_nowhere_to_go_stay_in_order_and_block_nobody(app: App) -> None:
    async with app:
        await bury(app, 300, "app:gone")
        await bury(app, 5, start=300)
        assert await app.dead.redrive("dead", limit=2) == 2
        assert await app.dead.redrive("dead") == 3
        assert await ids(app, "tasks") == ["300", "301", "302", "303", "304"]
        assert await ids(app, "dead") == [str(number) for number in range(300)]
        assert (await app._runtime.queue("dead").depth()).in_flight == 0


async def test_a_message_without_an_origin_stays(app: App) -> None:
    async with app:
        await app.publish("dead", 1)
        assert await app.dead.redrive("dead") == 0
        assert len(await ids(app, "dead")) == 1


async def test_a_refused_target_keeps_what_it_did_not_take(app: App) -> None:
    async with app:
        await bury(app, 4, "app:full")
        with pytest.raises(QueueFullError):
            await app.dead.redrive("dead")
        assert await ids(app, "full") == ["0", "1"]
        assert await ids(app, "dead") == ["2", "3"]
        (message,) = await app._runtime.queue("dead").peek(1)
        assert message.headers["attempts"] == 3


async def test_cancelled_midway_loses_nothing(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    has_transfer = MemoryDriver.capabilities.has("transfer")
    async with app:
        await bury(app, 300)
        forward = Queue.forward

        async def slow(self: Queue, messages: Any, **options: Any) -> Any:
            result = await forward(self, messages, **options)
            if messages[0].id != "0":
                await asyncio.sleep(3600)
            return result

        monkeypatch.setattr(Queue, "forward", slow)
        task = asyncio.create_task(app.dead.redrive("dead"))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        tasks, dead = await ids(app, "tasks"), await ids(app, "dead")
        assert {*tasks, *dead} == {str(number) for number in range(300)}
        if has_transfer:
            assert len(tasks) + len(dead) == 300
        else:  # a message on its way at the cancellation may be in both queues
            assert dead == [str(number) for number in range(100, 300)]
        assert (await app._runtime.queue("dead").depth()).in_flight == 0


async def test_what_another_one_takes_away_ends_it(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    async def depth(self: Queue) -> Depth:
        return Depth(10, 0, 0)

    async with app:
        await bury(app, 2)
        monkeypatch.setattr(Queue, "depth", depth)
        assert await app.dead.redrive("dead") == 2


async def test_a_broker_that_needs_a_moment_for_the_first_message(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """As RabbitMQ does, where a killed redrive held them."""
    receive = MemoryDriver.receive

    async def slow(self: MemoryDriver, queue: str, limit: int, wait: float) -> Any:
        return await receive(self, queue, limit, wait) if wait else []

    monkeypatch.setattr(MemoryDriver, "receive", slow)
    async with app:
        await bury(app, 3)
        assert await app.dead.redrive("dead") == 3


async def test_a_letter_that_fails_again_is_moved_once(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the letters could not be counted."""
    depth, forward = MemoryDriver.depth, Queue.forward

    async def estimated(self: MemoryDriver, queue: str) -> Depth:
        return replace(await depth(self, queue), is_estimate=MemoryDriver.capabilities.has("transfer"))

    async def forward_and_fail(self: Queue, messages: Any, **options: Any) -> Any:
        errors = await forward(self, messages, **options)
        if self.id == "app:tasks":  # a worker is faster than the redrive
            again = [Outgoing(each.id, each.body, each.headers | {"x_original_queue": self.id}) for each in messages]
            await forward(app._runtime.queue("dead"), again)
        return errors

    async with app:
        await bury(app, 250)
        monkeypatch.setattr(MemoryDriver, "depth", estimated)
        monkeypatch.setattr(Queue, "forward", forward_and_fail)
        assert await app.dead.redrive("dead") == 250
        assert len(await ids(app, "dead")) == 250


async def test_others_may_take_letters_meanwhile(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    app.queue("dead")
    app.queue("tasks", dead_letter="dead")
    transfer = MemoryDriver.transfer
    taken: list[str] = []

    async def raced(self: MemoryDriver, queue: str, batch: Any) -> Any:
        if not taken:  # letters that stay and one of these: all further ones have another number now
            taken.extend(["0", "1", batch[0].id])
            await self.remove(queue, taken)
        return await transfer(self, queue, batch)

    async with app:
        await bury(app, 40, "app:gone")
        await bury(app, 300, start=40)
        monkeypatch.setattr(MemoryDriver, "transfer", raced)
        assert await app.dead.redrive("dead") == 299
        assert await ids(app, "dead") == [str(number) for number in range(2, 40)]


async def test_a_full_queue_is_waited_for(make_app: MakeApp) -> None:
    app = make_app()
    app.queue("dead")
    app.queue("small", max_length=3, dead_letter="dead")
    async with app:
        await bury(app, 10, "app:small")

        async def drain() -> None:
            while len(await ids(app, "dead")):
                await asyncio.sleep(1)
                await app._runtime.queue("small").purge()

        moved, _ = await asyncio.gather(app.dead.redrive("dead"), drain())
        assert moved == 10
        await bury(app, 5, "app:small")
        await app._runtime.queue("small").purge()
        with pytest.raises(QueueFullError):
            await app.dead.redrive("dead")
        assert len(await ids(app, "dead")) == 2


async def test_letters_of_a_queue_of_another_driver_go_too(make_app: MakeApp) -> None:
    app = make_app()
    other = app.entry("other", "queue.driver.memory")
    app.queue("dead")
    app.queue("tasks", dead_letter="dead")
    app.queue("far", driver=other, dead_letter="dead")
    async with app:
        for start, queue in ((0, "app:tasks"), (3, "app:far"), (6, "app:gone"), (9, "app:tasks")):
            await bury(app, 3, queue, start)
        told: list[int] = []
        assert await app.dead.redrive("dead", limit=8, progress=told.append) == 8
        assert told[-1] == 8
        assert await ids(app, "tasks") == ["0", "1", "2", "9", "10"]
        assert await ids(app, "far") == ["3", "4", "5"]
        assert await ids(app, "dead") == ["6", "7", "8", "11"]
        assert await app.dead.redrive("dead", ids=["6", "11"]) == 1


async def test_an_estimate_that_was_too_low_leaves_no_dead_letter_behind(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    depth = MemoryDriver.depth

    async def estimated(self: MemoryDriver, queue: str) -> Depth:
        counted = await depth(self, queue)
        return replace(counted, ready=counted.ready // 2, is_estimate=True) if counted.ready > 2 else counted

    async with app:
        await bury(app, 9)
        monkeypatch.setattr(MemoryDriver, "depth", estimated)
        assert await app.dead.redrive("dead", limit=8) == 8
        assert await app.dead.redrive("dead") == 1


async def test_it_says_how_many_a_limit_holds_back_and_why(make_app: MakeApp) -> None:
    app = make_app()
    app.queue("tasks", dead_letter="dead")
    app.queue("dead", limit={"rate": "1/h", "burst": 2, "concurrency": 3})
    async with app:
        await bury(app, 5)
        with pytest.raises(HeldBackError) as info:
            await app.dead.redrive("dead")
        assert str(info.value) == (
            "the limit of queue 'app:dead' (1/h, 2 in a burst, 3 at once) hands out no more messages now: 2 sent back, "
            "3 left; do it again later, or take the limit off the queue for this time"
        )
        assert await ids(app, "tasks") == ["0", "1"]
        assert await app.dead.redrive("dead", ids=["4"], limit=1) == 1, "one letter is no stream"
        await asyncio.sleep(3600)
        assert await app.dead.redrive("dead", limit=1) == 1, "a letter that was not asked for is not missed"


async def test_it_waits_for_the_next_one_of_a_low_rate(make_app: MakeApp) -> None:
    app = make_app()
    app.queue("tasks", dead_letter="dead")
    app.queue("dead", limit={"rate": "2/m", "key": "header.mine"})
    async with app:
        await bury(app, 4)
        assert await app.dead.redrive("dead") == 4


async def test_it_says_who_has_the_places(make_app: MakeApp) -> None:
    app = make_app()
    app.queue("tasks", dead_letter="dead")
    app.queue("dead", limit={"concurrency": 2})
    async with app:
        await bury(app, 2, "app:gone")
        await bury(app, 4, start=2)
        with pytest.raises(
            HeldBackError, match="0 sent back, 4 left, 2 from no queue of this project, which take part"
        ):
            await app.dead.redrive("dead")
        assert len(await app._runtime.queue("dead").driver.receive("dead", 2, 0.0)) == 2
        with pytest.raises(HeldBackError, match="0 sent back, 4 left, 2 held by consumers; do"):
            await app.dead.redrive("dead", to="tasks")


async def test_until_empty_asks_again_while_the_broker_is_away(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    @app.queue("tasks").consumer()
    async def handle(body: Any) -> None: ...

    errors: list[Exception] = [BrokerUnavailableError("away")] * 3
    depth = MemoryDriver.depth

    async def away(self: MemoryDriver, queue: str) -> Depth:
        if errors:
            raise errors.pop()
        return await depth(self, queue)

    monkeypatch.setattr(MemoryDriver, "depth", away)
    async with app:
        await wait_until_empty(lambda: app._runtime.assembly)
        assert not errors
        errors.append(AccessDeniedError("no"))
        with pytest.raises(AccessDeniedError):
            await wait_until_empty(lambda: app._runtime.assembly)
    await wait_until_empty(lambda: app._runtime.assembly)


async def test_until_empty_is_not_fooled_by_a_message_that_moves_between_two_looks(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the queue that is looked at second into the one that was looked at first, as a dead letter does."""

    @app.queue("tasks").consumer()
    @app.queue("other").consumer()
    async def handle(body: Any) -> None: ...

    looks: list[Queue] = []
    occupancy = Queue.occupancy

    async def moving(self: Queue) -> Occupancy:
        looks.append(self)
        if len(looks) == 2:
            await looks[0].publish("moved")
        if len(looks) == 10:
            await looks[0].purge()
        return await occupancy(self)

    monkeypatch.setattr(Queue, "occupancy", moving)
    async with app:
        await wait_until_empty(lambda: app._runtime.assembly)
        assert len(looks) >= 10
