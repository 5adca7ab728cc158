"""Acks, releases and suspects where SQS fails in part."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Release
from tasuki.errors import BrokerUnavailableError
from tests.faults.sqs.rig import messages, once, opened
from tests.support.brokers.rig import take
from tests.support.brokers.sqs import SQS
from tests.support.brokers.sqs_gate import Answer, Gate, Lost, Partly

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


@pytest.mark.parametrize("fault", [Partly({0: "InternalError"}), Answer(503, "ServiceUnavailable"), Lost()])
async def test_a_settle_that_failed_in_part_can_be_done_again(gate: Gate, queue: str, fault: Any) -> None:
    async with opened(gate.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages(25))
        got = await take(driver, queue, 25)
        acks = [Ack(received.receipt) for received in got]
        gate.rule = once("DeleteMessageBatch", fault)
        with pytest.raises(BrokerUnavailableError):
            await driver.settle(queue, acks)
        before = gate.times("DeleteMessageBatch")
        assert list(await driver.settle(queue, acks)) == []
        assert gate.times("DeleteMessageBatch") == before + 1  # only what had failed
        assert len(await driver.settle(queue, acks)) == 25
        assert await driver.receive(queue, 10, 0.0) == []


@pytest.mark.parametrize("code", ["ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue"])
async def test_sqs_says_that_a_receipt_is_stale(gate: Gate, queue: str, code: str) -> None:
    async with opened(gate.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages(2))
        first, second = await take(driver, queue, 2)
        gate.rule = once("DeleteMessageBatch", Partly({0: code}, is_sender_fault=True))
        assert list(await driver.settle(queue, [Ack(first.receipt)])) == [first.receipt]
        gate.rule = once("ChangeMessageVisibilityBatch", Partly({0: code}, is_sender_fault=True))
        assert list(await driver.extend(queue, [second.receipt], 30.0)) == [second.receipt]


async def test_a_release_interrupted_after_its_copy_sends_no_second_copy(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages(1))
        (got,) = await take(driver, queue)
        gate.rule = once("DeleteMessageBatch", Answer(503, "ServiceUnavailable"))
        with pytest.raises(BrokerUnavailableError):
            await driver.settle(queue, [Release(got.receipt)])
        assert list(await driver.settle(queue, [Release(got.receipt)])) == []
        (again,) = await take(driver, queue)
        assert (again.id, again.attempt) == (got.id, 1)
        assert await driver.receive(queue, 10, 0.0) == []


async def test_a_release_that_cannot_be_sent_again_is_shown_again_as_a_suspect(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages(1))
        (got,) = await take(driver, queue)
        gate.rule = once("SendMessageBatch", Partly({0: "InvalidMessageContents"}, is_sender_fault=True))
        assert list(await driver.settle(queue, [Release(got.receipt)])) == []
        (again,) = await take(driver, queue)
        assert (again.id, again.attempt, again.suspect) == (got.id, 1, True)


async def test_attempts_are_counted_over_releases_and_failures(queue: str) -> None:
    async with opened(SQS.shared().port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages(1))
        for kind, attempt in ((Nack, 1), (Release, 2), (Release, 2), (Nack, 2), (Nack, 3), (Release, 4), (Nack, 4)):
            (got,) = await take(driver, queue)
            assert got.attempt == attempt
            await driver.settle(queue, [kind(got.receipt)])


@pytest.mark.parametrize(("key", "attempt"), [(None, 1), ("k", 2)])
async def test_a_release_in_a_fifo_queue_counts_for_messages_with_a_key(
    queue: str, key: str | None, attempt: int
) -> None:
    """A copy would go behind the others of its key."""
    async with opened(SQS.shared().port, QueueSpec(queue, ordering="key")) as driver:
        await driver.publish(queue, messages(2, key=key))
        got = (await take(driver, queue))[0]
        await driver.settle(queue, [Release(got.receipt)])
        found = {received.id: received for received in await take(driver, queue, 1 if key else 2)}
        assert found[got.id].attempt == attempt


async def test_a_started_suspect_is_found_by_a_process_that_never_met_the_queue_of_suspects(queue: str) -> None:
    port, spec = SQS.shared().port, QueueSpec(queue, lease=1.0)
    async with opened(port, spec) as driver, opened(port, spec) as other:
        await other.receive(queue, 1, 0.0)  # it has looked, and found none
        await driver.publish(queue, messages(1))
        (got,) = await take(driver, queue)
        assert list(await driver.start(queue, [got.receipt])) == []
        assert (await driver.depth(queue)).in_flight == 1
        (again,) = await take(other, queue)
        assert (again.id, again.attempt, again.suspect) == (got.id, 2, True)
        assert list(await other.settle(queue, [Ack(again.receipt)])) == []
        assert list(await driver.settle(queue, [Ack(got.receipt)])) == [got.receipt]


async def test_a_second_suspect_waits_in_the_queue_of_suspects_while_one_is_in_hand(queue: str) -> None:
    async with opened(SQS.shared().port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages(2))
        first, second = await take(driver, queue, 2)
        assert list(await driver.start(queue, [first.receipt])) == []
        assert list(await driver.start(queue, [second.receipt])) == [second.receipt]
        await driver.settle(queue, [Ack(first.receipt)])
        (again,) = await take(driver, queue)
        assert (again.id, again.attempt, again.suspect) == (second.id, 1, True)
        assert list(await driver.start(queue, [again.receipt])) == []


async def test_no_second_suspect_with_a_key_is_taken_while_one_is_in_hand(queue: str) -> None:
    """SQS counts each delivery of a message with a key, so that one would be charged for the death by the other."""
    port, spec = SQS.shared().port, QueueSpec(queue, ordering="key", lease=2.0)
    async with opened(port, spec) as driver, opened(port, spec) as other:
        await driver.publish(queue, [Outgoing(key, b"body", {}, key=key) for key in "ab"])
        await take(other, queue, 2)
        (suspect,) = await take(driver, queue)
        assert suspect.suspect
        assert await driver.receive(queue, 1, 0.0) == []
        assert list(await driver.extend(queue, [suspect.receipt], 60.0)) == []
        assert list(await driver.settle(queue, [Ack(suspect.receipt)])) == []
        (rest,) = await take(driver, queue)
        assert rest.id != suspect.id
