"""Delays longer than SQS can hide a message."""

from __future__ import annotations

import time

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec
from tasuki.drivers.sqs import publishing, settling
from tasuki.testing.conformance import ShiftedClock
from tests.faults.sqs.rig import messages, once, opened
from tests.support.brokers.rig import SECONDS, take
from tests.support.brokers.sqs import SQS
from tests.support.brokers.sqs_gate import Answer, Body, Gate

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_a_long_delay_goes_by_hops_that_do_not_count(gate: Gate, queue: str) -> None:
    """The gate cuts SQS's own delay short, so that the message comes early, as after the first of several hops."""

    def shorten(operation: str, body: Body) -> None:
        if operation == "SendMessageBatch":
            for entry in body["Entries"]:
                entry["DelaySeconds"] = min(entry.get("DelaySeconds", 0), 1)

    async with opened(gate.port, QueueSpec(queue)) as driver:
        began = time.monotonic()
        gate.rule = shorten
        await driver.publish(queue, [Outgoing("late", b"body", {"n": 1}, delay=3600.0)])
        while gate.times("DeleteMessageBatch") < 2:
            assert await driver.receive(queue, 1, 1.0) == []
            assert time.monotonic() - began < SECONDS
        copy = [seen.body["Entries"][0] for seen in gate.seen if seen.operation == "SendMessageBatch"][-1]
        assert copy["DelaySeconds"] == 1
        assert '"delay":35' in copy["MessageAttributes"]["tasuki"]["StringValue"]


async def test_a_message_that_went_by_hops_arrives_in_time_as_a_first_attempt(
    gate: Gate, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (publishing, settling):
        monkeypatch.setattr(module, "LONGEST_DELAY", 1)
    async with opened(gate.port, QueueSpec(queue)) as driver:
        began = time.monotonic()
        await driver.publish(queue, [Outgoing("late", b"body", {"n": 1}, delay=2.5)])
        (got,) = await take(driver, queue)
        assert time.monotonic() - began >= 2.5
        assert (got.id, got.body, got.headers, got.attempt) == ("late", b"body", {"n": 1}, 1)
        assert gate.times("SendMessageBatch") == 3
        await driver.settle(queue, [Nack(got.receipt)])
        assert (await take(driver, queue))[0].attempt == 2


@pytest.mark.parametrize("wrong_by", [3600.0, -3600.0])
async def test_a_delay_of_a_fifo_queue_is_kept_by_the_clock_of_sqs(gate: Gate, queue: str, wrong_by: float) -> None:
    """SQS cannot delay a message of such a queue: the receiver hides it until its time, whatever its own clock says."""
    clock = ShiftedClock()
    clock.advance(wrong_by)
    spec = QueueSpec(f"{queue}.fifo", ordering="key")
    async with opened(gate.port, spec, clock=clock) as driver:
        await driver.publish(spec.name, [Outgoing("late", b"body", {}, delay=3.0, key="k")])
        began = time.monotonic()
        (got,) = await take(driver, spec.name)
        assert time.monotonic() - began >= 2.5
        assert got.id == "late"


def without_delays(operation: str, body: Body) -> None:
    for entry in body["Entries"] if operation == "SendMessageBatch" else ():
        entry.pop("DelaySeconds", None)


async def test_a_hop_that_fails_does_not_count_either(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue, lease=1.0)) as driver:
        gate.rule = without_delays
        began = time.monotonic()
        await driver.publish(queue, [Outgoing("late", b"body", {}, delay=901.0)])
        gate.rule = once("SendMessageBatch", Answer(503, "ServiceUnavailable"))
        assert await driver.receive(queue, 1, 0.0) == []
        while gate.times("DeleteMessageBatch") < 1:
            assert await driver.receive(queue, 1, 1.0) == []
            assert time.monotonic() - began < SECONDS
        copy = [seen.body["Entries"][0] for seen in gate.seen if seen.operation == "SendMessageBatch"][-1]
        assert "attempts" not in copy["MessageAttributes"]["tasuki"]["StringValue"]


async def test_a_nack_longer_than_sqs_can_hide_is_sent_again_and_counts(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages(1))
        (got,) = await take(driver, queue)
        await driver.settle(queue, [Nack(got.receipt, 50_000.0)])
        entry = next(seen.body["Entries"][0] for seen in reversed(gate.seen) if seen.operation == "SendMessageBatch")
        assert entry["DelaySeconds"] == 900
        assert '"attempts":1' in entry["MessageAttributes"]["tasuki"]["StringValue"]
        assert '"delay":50000' in entry["MessageAttributes"]["tasuki"]["StringValue"]
        assert (await driver.depth(queue)).delayed == 1


async def test_a_delay_in_a_fifo_queue_hides_the_message_and_does_not_count(queue: str) -> None:
    """SQS has no delays of single messages there: it is hidden when it arrives, and its key waits behind it."""
    async with opened(SQS.shared().port, QueueSpec(queue, ordering="key")) as driver:
        began = time.monotonic()
        late = Outgoing("late", b"body", {}, delay=2.0, key="a")
        behind, free = Outgoing("behind", b"body", {}, key="a"), Outgoing("free", b"body", {}, key="b")
        await driver.publish(queue, [late, behind, free])
        assert [received.id for received in await take(driver, queue)] == ["free"]
        (got,) = await take(driver, queue)
        assert time.monotonic() - began >= 2.0
        assert (got.id, got.attempt) == ("late", 1)
        await driver.settle(queue, [Nack(got.receipt)])
        (got,) = await take(driver, queue)
        assert (got.id, got.attempt) == ("late", 2)
        await driver.settle(queue, [Ack(got.receipt)])
        assert [received.id for received in await take(driver, queue)] == ["behind"]
