from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.fetching.window import Keeping
from tasuki.consumers.settling.verdict import ACK, RELEASE, Verdict
from tasuki.contracts.driver import NACK_ERROR_CHARS, Ack, Nack, Release, Settlement
from tasuki.errors import AccessDeniedError, BrokerUnavailableError
from tasuki.observe.metrics import ConsumerMetrics
from tasuki.queues.queue import Queue
from tests.unit.consumers.model import ModelBroker, ModelDriver
from tests.unit.consumers.parts import HOLDER, clock_of_loop, make_queue, now, settler_of

pytestmark = pytest.mark.anyio

DEAD = Verdict("dead_letter", reason="rejected", error="no")


class Rig:
    def __init__(self, **dead_options: Any) -> None:
        self.broker = ModelBroker(clock_of_loop())
        self.driver = ModelDriver(self.broker, trouble=self.trouble)
        self.queue = make_queue(self.driver, lease=30.0)
        self.dead: Queue = make_queue(self.driver, "dead", **dead_options)
        self.metrics = ConsumerMetrics(consumer="c", queue="q", driver="d")
        self.settled: list[Settlement] = []
        self.kept: list[Keeping] = []
        self.errors: list[Exception] = []
        self.publish_errors: list[Exception] = []
        self.settler = settler_of(
            self.queue,
            self.dead,
            self.metrics,
            on_settled=lambda batch, stale: self.settled.extend(batch),
            on_kept=self.keep,
        )

    def keep(self, delivery: Delivery, change: Keeping) -> bool:
        self.kept.append(change)
        return True

    async def trouble(self, verb: str, when: str) -> None:
        if (verb, when) == ("settle", "before") and self.errors:
            raise self.errors.pop(0)
        if (verb, when) == ("publish", "before") and self.publish_errors:
            raise self.publish_errors.pop(0)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.settler.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def hold(self, count: int) -> list[Any]:
        """Deliveries of this many messages."""
        await self.driver.declare(self.queue.spec)
        await self.driver.declare(self.dead.spec)
        await self.queue.publish_many(list(range(count)))
        held: list[Any] = []
        while len(held) < count:
            received = await self.driver.receive("tasks", 7, 0)
            held += [Delivery(one, HOLDER, 0.0) for one in received]
        return held

    @property
    def batches(self) -> list[int]:
        return [len(what) for verb, what in self.driver.calls if verb == "settle"]


async def test_each_verdict_is_carried_out() -> None:
    rig = Rig()
    one, two, three, four = await rig.hold(4)
    async with rig.running():
        rig.settler.settle(one, ACK)
        rig.settler.settle(two, Verdict("nack", 5.0, error="x" * 4000))
        rig.settler.settle(three, RELEASE)
        rig.settler.settle(four, DEAD)
        assert await rig.settler.finish(5)
    assert set(rig.settled) == {
        Ack(one.received.receipt),
        Nack(two.received.receipt, 5.0, "x" * NACK_ERROR_CHARS),
        Release(three.received.receipt),
        Ack(four.received.receipt),
    }
    assert rig.broker.ids("tasks") == [two.received.id, three.received.id]
    assert rig.broker.ids("dead") == [four.received.id]
    metrics = rig.metrics
    assert (metrics.acked, metrics.nacked, metrics.released, metrics.dead_lettered) == (1, 1, 1, 1)


async def test_what_gathers_meanwhile_is_the_next_batch_in_driver_sizes() -> None:
    rig = Rig()
    held = await rig.hold(17)
    async with rig.running():
        for delivery in held:
            rig.settler.settle(delivery, ACK)
        assert await rig.settler.finish(5)
    assert rig.batches == [7, 7, 3]


async def test_what_was_settled_before_it_ran_is_not_forgotten() -> None:
    rig = Rig()
    (delivery,) = await rig.hold(1)
    rig.settler.settle(delivery, ACK)
    assert not await rig.settler.finish(0.1)
    async with rig.running():
        assert await rig.settler.finish(5)
    assert rig.broker.ids("tasks") == []


@pytest.mark.parametrize("error", [BrokerUnavailableError("away"), KeyError("a defect of the driver")])
async def test_while_the_broker_is_away_it_tries_again(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    (delivery,) = await rig.hold(1)
    rig.errors = [error] * 6
    async with rig.running():
        rig.settler.settle(delivery, ACK)
        assert await rig.settler.finish(20)
    assert rig.broker.ids("tasks") == []
    assert len(rig.batches) == 7
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_when_the_lease_must_be_over_it_gives_up_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    one, two = await rig.hold(2)
    rig.errors = [BrokerUnavailableError("away")] * 1000
    async with rig.running():
        rig.settler.settle(one, ACK)
        assert await rig.settler.finish(60)
        assert 30 <= now() <= 33
        rig.errors = []
        rig.settler.settle(two, ACK)
        assert await rig.settler.finish(5)
    assert rig.broker.ids("tasks") == [one.received.id]
    assert len(rig.settled) == 2
    assert "the broker redelivers them when their leases end" in caplog.text


async def test_what_is_refused_for_good_is_not_tried_again() -> None:
    rig = Rig()
    (delivery,) = await rig.hold(1)
    rig.errors = [AccessDeniedError("no")]
    async with rig.running():
        rig.settler.settle(delivery, ACK)
        assert await rig.settler.finish(5)
    assert rig.batches == [1]
    assert len(rig.settled) == 1


@pytest.mark.parametrize(("verdict", "is_told"), [(ACK, True), (RELEASE, False)])
async def test_stale_ones_are_counted_and_told_of_where_they_may_have_run_twice(
    verdict: Verdict, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that was suspended releases all its messages; only started ones may have run twice."""
    rig = Rig()
    held = await rig.hold(2)
    await asyncio.sleep(31)
    await rig.driver.receive("tasks", 7, 0)
    async with rig.running():
        for delivery in held:
            rig.settler.settle(delivery, verdict)
        assert await rig.settler.finish(5)
    assert rig.metrics.stale == 2
    assert len(rig.broker.ids("tasks")) == 2
    told = "2 settled too late: the lease was lost, so the message may be handled twice"
    assert (told in caplog.text, "settled too late" in caplog.text) == (is_told, is_told)


@pytest.mark.parametrize("error", [BrokerUnavailableError("away"), KeyError("defect")])
async def test_a_dead_letter_that_is_not_taken_is_kept_until_it_is(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig()
    (delivery,) = await rig.hold(1)
    rig.publish_errors = [error] * 3
    async with rig.running():
        rig.settler.settle(delivery, DEAD)
        await asyncio.sleep(0.15)
        assert (rig.settled, rig.kept) == ([], ["kept"])
        await asyncio.sleep(0.4)
    assert (rig.settled, rig.kept) == ([Ack(delivery.received.receipt)], ["kept", "ended"])
    assert rig.broker.ids("dead") == [delivery.received.id]
    assert "cannot be dead-lettered yet, kept" in caplog.text


async def test_a_dead_letter_that_is_not_taken_before_the_stop_is_released() -> None:
    """A release counts no attempt: its handler has failed once, not once more for each try."""
    rig = Rig()
    (delivery,) = await rig.hold(1)
    rig.publish_errors = [BrokerUnavailableError("away")] * 1000
    async with rig.running():
        rig.settler.settle(delivery, DEAD)
        assert await rig.settler.finish(5)
    assert rig.settled == [Release(delivery.received.receipt)]
    assert rig.broker.ids("tasks") == [delivery.received.id]
    assert rig.broker.ids("dead") == []


async def test_a_dead_letter_whose_lease_was_lost_is_let_go() -> None:
    rig = Rig()
    (delivery,) = await rig.hold(1)
    rig.publish_errors = [BrokerUnavailableError("away")] * 1000
    async with rig.running():
        rig.settler.settle(delivery, DEAD)
        delivery.lost = True
        await asyncio.sleep(2)
    assert rig.settled == [Release(delivery.received.receipt)]


async def test_a_dead_letter_that_cannot_even_be_made_is_kept() -> None:
    rig = Rig()
    (delivery,) = await rig.hold(1)
    async with rig.running():
        rig.settler.settle(delivery, DEAD._replace(error=5))  # type: ignore[arg-type]  # the mistake
        assert await rig.settler.finish(5)
    assert rig.settled == [Release(delivery.received.receipt)]


async def test_a_full_dead_letter_queue_holds_up_a_stop_only_so_long() -> None:
    rig = Rig(max_length=0)
    (delivery,) = await rig.hold(1)
    async with rig.running():
        rig.settler.settle(delivery, DEAD)
        assert await rig.settler.finish(3)
    assert 1.5 <= now() < 3
    assert rig.settled == [Release(delivery.received.receipt)]
    assert rig.broker.ids("tasks") == [delivery.received.id]
    await asyncio.sleep(10)
    assert rig.broker.ids("dead") == []


async def test_a_broker_that_stays_away_holds_up_a_stop_only_so_long() -> None:
    rig = Rig()
    (delivery,) = await rig.hold(1)
    rig.errors = [BrokerUnavailableError("away")] * 1000
    async with rig.running():
        rig.settler.settle(delivery, ACK)
        assert not await rig.settler.finish(3)
    assert now() == pytest.approx(3)


async def test_a_kept_message_is_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    (delivery,) = await rig.hold(1)
    async with rig.running():
        rig.settler.settle(delivery, Verdict("nack", 8.0, reason="undecodable", error="not JSON", kept=True))
        await rig.settler.finish(5)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "undecodable: not JSON; kept for another 8 s because queue app:tasks has no dead_letter" in record.message
    assert record.message_id == delivery.received.id  # type: ignore[attr-defined]


async def stale(rig: Rig) -> None:
    await asyncio.sleep(31)
    await rig.driver.receive("tasks", 7, 0)


async def refused(rig: Rig) -> None:
    rig.errors = [AccessDeniedError("no")]


async def fine(rig: Rig) -> None:
    return None


@pytest.mark.parametrize(("prepare", "taken"), [(fine, True), (stale, False), (refused, False)])
async def test_an_awaited_ack_says_whether_the_broker_took_it(prepare: Callable[[Rig], Any], taken: bool) -> None:
    rig = Rig()
    one, two = await rig.hold(2)
    await prepare(rig)
    async with rig.running():
        rig.settler.settle(two, ACK)
        assert await rig.settler.ack(one) is taken
        assert await rig.settler.finish(5)
    assert not rig.settler._awaited


async def test_an_awaited_ack_that_nobody_waits_for_any_more() -> None:
    rig = Rig()
    (delivery,) = await rig.hold(1)
    async with rig.running():
        waiting = asyncio.create_task(rig.settler.ack(delivery))
        await asyncio.sleep(0)
        waiting.cancel()
        assert await rig.settler.finish(5)
    assert rig.broker.ids("tasks") == []


async def test_what_is_settled_after_the_end_wakes_nobody() -> None:
    rig = Rig()
    one, two = await rig.hold(2)
    async with rig.running() as task:
        await asyncio.sleep(0)
        task.cancel()
        rig.settler.settle(one, ACK)
    rig.settler.settle(two, ACK)
    assert not await rig.settler.finish(0.1)
    assert len(rig.broker.ids("tasks")) == 2
