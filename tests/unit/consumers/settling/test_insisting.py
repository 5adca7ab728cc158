"""Writes before an ack: which are tried again, how soon, and which are decided."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.fetching.window import MOST_PARKED, Keeping
from tasuki.consumers.settling.insisting import DEFECTIVE, End, Insisting, Write
from tasuki.contracts.driver import Outgoing, Received
from tasuki.contracts.handler import Context
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import (
    AccessDeniedError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    QueueFullError,
    QueueNotFoundError,
    StaleReceiptError,
)
from tasuki.message import LEFT_OUT
from tasuki.queues.dead_letter import redriven
from tasuki.state.shared import SharedState
from tests.unit.consumers.model import ModelBroker, ModelDriver
from tests.unit.consumers.parts import HOLDER, Bench, clock_of_loop, make_bench, now

pytestmark = pytest.mark.anyio


class Rig:
    def __init__(self, *, has_room: bool = True) -> None:
        self.changes: list[Keeping] = []
        self.tries: list[float] = []
        self.error: BaseException | None = None
        self.has_room = has_room
        self.insisting = Insisting(clock_of_loop(), self.keep)
        self.delivery = Delivery(Received("m", b"body", {}, 1), HOLDER, 0.0)

    def keep(self, delivery: Delivery, change: Keeping) -> bool:
        self.changes.append(change)
        return change != "parked" or self.has_room

    async def write(self) -> None:
        self.tries.append(now())
        if self.error is not None:
            raise self.error

    def begin(self, **options: Any) -> asyncio.Task[End]:
        write = Write(self.write, "written", **options)
        return asyncio.create_task(self.insisting.until_done(self.delivery, write))

    @property
    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.tries, self.tries[1:], strict=False)]


async def test_what_succeeds_at_once_is_never_kept() -> None:
    rig = Rig()
    assert await rig.begin() == "done"
    assert (rig.changes, len(rig.tries)) == ([], 1)


async def test_an_outage_of_any_length_is_waited_out_with_pauses_of_two_seconds_at_most() -> None:
    rig = Rig()
    rig.error = BrokerUnavailableError("gone")
    writing = rig.begin()
    await asyncio.sleep(3600)
    (trouble,) = rig.insisting.troubles.values()
    assert (trouble.since, trouble.what, trouble.error) == (0.0, "written", "BrokerUnavailableError('gone')")
    rig.error, since = None, now()
    assert await writing == "done"
    assert now() - since <= 2
    assert rig.pauses[0] < 0.1
    assert max(rig.pauses) <= 2
    assert rig.changes == ["kept", "ended"]
    assert not rig.insisting.troubles


async def test_a_full_queue_is_tried_every_thirty_seconds_at_last() -> None:
    rig = Rig()
    rig.error = QueueFullError("full")
    writing = rig.begin(must=True)
    await asyncio.sleep(3600)
    assert 10 < max(rig.pauses) <= 30
    assert rig.changes == ["kept"]
    rig.error = None
    assert await writing == "done"


async def test_a_final_error_is_decided_at_the_first_try(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.error = AccessDeniedError("no")
    assert await rig.begin() == "decided"
    assert (len(rig.tries), rig.changes) == (1, ["kept", "ended"])
    assert [record.getMessage() for record in caplog.records] == ["cannot be written, ever: AccessDeniedError('no')"]


@pytest.mark.parametrize("has_room", [True, False])
async def test_what_must_be_written_is_parked_by_a_final_error_and_tried_again(has_room: bool) -> None:
    rig = Rig(has_room=has_room)
    rig.error = AccessDeniedError("no")
    writing = rig.begin(must=True)
    await asyncio.sleep(0.01)
    assert rig.changes == ["kept", "parked"]
    await asyncio.sleep(600)
    assert 10 < max(rig.pauses) <= 30
    rig.error = None
    assert await writing == "done"
    assert rig.changes[-1] == ("unparked" if has_room else "ended")


async def test_a_defect_is_tried_for_a_minute_and_then_decided() -> None:
    rig = Rig()
    rig.error = KeyError("defect")
    assert await rig.begin() == "decided"
    assert DEFECTIVE <= now() <= DEFECTIVE + 2


async def test_a_late_write_keeps_no_delivery_and_outlives_its_lease() -> None:
    rig = Rig()
    rig.error, rig.delivery.lost = BrokerUnavailableError("gone"), True
    writing = rig.begin(is_late=True)
    await asyncio.sleep(10)
    assert len(rig.insisting.troubles) == 1
    rig.error = None
    assert await writing == "done"
    assert rig.changes == ["owed", "paid"]


async def test_what_a_handler_owes_that_outlasts_its_consumer_is_tried_once(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.error, rig.insisting.is_over = BrokerUnavailableError("gone"), True
    assert await rig.begin(is_late=True) == "stopped"
    assert (len(rig.tries), rig.changes) == (1, ["owed", "paid"])
    assert "cannot be written after the stop" in caplog.text


async def test_a_write_of_a_lost_delivery_ends() -> None:
    rig = Rig()
    rig.error = BrokerUnavailableError("gone")
    writing = rig.begin()
    await asyncio.sleep(1)
    rig.delivery.lost = True
    assert await writing == "lost"
    rig.error = StaleReceiptError("over")
    rig.delivery.lost = False
    assert await rig.begin() == "stale"


async def test_a_client_that_cancels_its_own_request_does_not_stop_a_write() -> None:
    """As some do when they lose their connection: the message was released, and its handler ran again."""
    rig = Rig()
    rig.error = asyncio.CancelledError()
    writing = rig.begin()
    await asyncio.sleep(5)
    assert rig.changes == ["kept"]
    rig.error = None
    assert await writing == "done"


async def test_a_stop_ends_a_write(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.error = BrokerUnavailableError("gone")
    writing = rig.begin()
    await asyncio.sleep(1)
    writing.cancel()
    assert await writing == "stopped"
    assert rig.changes == ["kept", "ended"]
    assert "cannot be written before the stop" in caplog.text


class Small(ModelDriver):
    """Its dead-letter queue takes messages of this many bytes, headers included; or it is gone."""

    def __init__(self, most: int) -> None:
        super().__init__(ModelBroker(clock_of_loop()))
        self.most, self.is_gone = most, False
        self.tries = 0

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        if queue != "dead":
            return await super().publish(queue, batch)
        self.tries += 1
        if self.is_gone:
            return [QueueNotFoundError("the queue was deleted")] * len(batch)
        if any(len(each.body) + len(str(each.headers)) > self.most for each in batch):
            return [MessageTooLargeError(f"more than {self.most} bytes")] * len(batch)
        return await super().publish(queue, batch)


async def fail(body: Any, context: Context) -> None:
    raise ValueError("boom " * 500)


async def bench_of(most: int, **options: Any) -> tuple[Bench, Small]:
    driver = Small(most)
    return await make_bench(fail, driver=driver, max_attempts=1, **options), driver


@pytest.mark.parametrize(
    ("most", "left_out"),
    [
        (100_000, None),
        (6500, "attempts"),
        (5000, "attempts traceback"),
        (3000, "attempts traceback error"),
        (800, "attempts traceback error headers"),
    ],
)
async def test_a_letter_shrinks_until_it_fits(most: int, left_out: str | None) -> None:
    shelf = MemoryDriver("app:state", clock=clock_of_loop())
    await shelf.open()
    bench, driver = await bench_of(most, state=SharedState(shelf, "state", clock_of_loop()))
    async with bench:
        await bench.queue.publish(1, {"note": "n" * 1500, "message_type": "send"}, id="m", key="k")
        async with asyncio.timeout(60):
            while not driver.broker.ids("dead"):
                await asyncio.sleep(0.01)
        (stored,) = driver.broker.queues["dead"].stored
        await bench.empty()
    assert stored.headers.get(LEFT_OUT) == left_out
    assert (stored.body, stored.headers["x_dead_letter_reason"], stored.headers["x_original_queue"]) == (
        b"1", "max_attempts", "app:tasks",
    )  # fmt: skip
    assert ("note" in stored.headers) == (left_out is None or "headers" not in left_out)
    again = redriven(Outgoing(stored.id, stored.body, stored.headers))
    assert (again.key, again.headers["message_type"], LEFT_OUT in again.headers) == ("k", "send", False)


async def test_a_letter_that_no_queue_takes_leaves_its_place_to_other_messages(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench, driver = await bench_of(100_000)
    driver.is_gone = True
    handled: list[int] = []

    async def run(body: int, context: Context) -> None:
        handled.append(body)
        if body < 30:
            raise ValueError("boom")

    bench.handler.run = run
    async with bench:
        await bench.queue.publish_many(list(range(80)))
        async with asyncio.timeout(60):
            while len(handled) < 80:
                await asyncio.sleep(0.01)
        await asyncio.sleep(5)
        assert (bench.consumer.now.held, bench.run.window.parked, bench.consumer.now.unsettled) == (30, 30, 0)
        assert not bench.consumer.now.is_filled_by_kept
        driver.is_gone = False
        async with asyncio.timeout(31):
            while bench.consumer.now.held:
                await asyncio.sleep(0.01)
        assert len(driver.broker.ids("dead")) == 30
    assert handled == list(range(80))
    assert "cannot be dead-lettered yet, kept: QueueNotFoundError" in caplog.text


async def test_too_many_parked_letters_take_places_again() -> None:
    bench, driver = await bench_of(100_000)
    driver.is_gone = True
    async with bench:
        bench.run.window.parked = MOST_PARKED
        bench.run.window.held = MOST_PARKED
        await bench.queue.publish_many(list(range(100)))
        await asyncio.sleep(60)
        assert bench.consumer.now.is_filled_by_kept
        assert len(bench.handler.seen) == 20
        bench.run.window.parked = 0
        bench.run.window.held -= MOST_PARKED


async def test_a_letter_too_large_for_any_queue_is_kept_and_never_dropped() -> None:
    bench, driver = await bench_of(10)
    async with bench:
        await bench.queue.publish("x" * 100, id="m")
        await asyncio.sleep(60)
        assert (bench.run.window.parked, len(bench.handler.seen)) == (1, 1)
    assert driver.broker.ids("tasks") == ["m"]
