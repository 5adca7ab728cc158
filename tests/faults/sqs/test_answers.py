"""What SQS answers to a publish and a receive: throttled, half failing, damaged."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec
from tasuki.errors import (
    AccessDeniedError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    QueueNotFoundError,
    ThrottledError,
    UnsupportedError,
)
from tests.faults.sqs.rig import always, messages, once, opened
from tests.support.brokers.rig import take
from tests.support.brokers.sqs_gate import Answer, Body, Changed, Gate, Lost, Partly

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


@pytest.mark.parametrize(
    ("answer", "error", "outcome"),
    [
        (Answer(400, "RequestThrottled"), ThrottledError, "rejected"),
        (Answer(400, "ThrottlingException"), ThrottledError, "rejected"),
        (Answer(403, "OverLimit"), ThrottledError, "rejected"),
        (Answer(500, "InternalError"), BrokerUnavailableError, "unknown"),
        (Answer(503, "ServiceUnavailable"), BrokerUnavailableError, "unknown"),
        (Answer(403, "AccessDenied"), AccessDeniedError, "rejected"),
        (Answer(400, "QueueDoesNotExist"), QueueNotFoundError, "rejected"),
        (Answer(400, "AWS.SimpleQueueService.NonExistentQueue"), QueueNotFoundError, "rejected"),
        (Answer(400, "BatchRequestTooLong"), MessageTooLargeError, "rejected"),
        (Answer(400, "SomethingNew"), DriverError, "rejected"),
        (Lost(), BrokerUnavailableError, "unknown"),
    ],
)
async def test_answers_to_a_publish(
    gate: Gate, queue: str, answer: Any, error: type[DriverError], outcome: str
) -> None:
    async with opened(gate.port, QueueSpec(queue)) as driver:
        gate.rule = always("SendMessageBatch", answer)
        with pytest.raises(DriverError) as caught:
            await driver.publish(queue, messages(3))
        assert type(caught.value) is error
        assert caught.value.outcome == outcome
        assert caught.value.retryable is (error in {ThrottledError, BrokerUnavailableError})
        assert gate.times("SendMessageBatch") == 1  # the client does not try again by itself


async def test_too_many_messages_in_flight_is_a_reason_to_wait(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages(1))
        gate.rule = once("ReceiveMessage", Answer(403, "OverLimit"))
        with pytest.raises(ThrottledError) as caught:
            await driver.receive(queue, 1, 1.0)
        assert caught.value.retryable
        assert len(await take(driver, queue)) == 1


async def test_only_the_failed_entries_fail(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue)) as driver:
        gate.rule = once("SendMessageBatch", Partly({1: "InternalError", 3: "RequestThrottled"}))
        results = await driver.publish(queue, messages(25))
        kinds = Counter(type(result) for result in results)
        assert kinds == {type(None): 23, BrokerUnavailableError: 1, ThrottledError: 1}
        assert all(result.outcome == "rejected" for result in results if result is not None)
        failed = {f"{index}" for index, result in enumerate(results) if result is not None}
        got = await take(driver, queue, 23)
        assert {received.id for received in got} == {f"{index}" for index in range(25)} - failed


@pytest.mark.parametrize("failing", [1, 2, 3])
@pytest.mark.parametrize("answer", [Partly({0: "InternalError"}), Partly({1: "RequestThrottled"}), Lost()])
async def test_what_failed_of_a_batch_can_be_sent_again_in_the_order_of_its_keys(
    gate: Gate, queue: str, answer: Any, failing: int
) -> None:
    batch = [Outgoing(f"{index}", b"", {}, key="ab"[index % 2]) for index in range(8)]
    async with opened(gate.port, QueueSpec(queue, ordering="key", dedup_window=300.0)) as driver:
        gate.rule = lambda operation, _: (
            answer if operation == "SendMessageBatch" and gate.times(operation) == failing else None
        )
        left, rounds = batch, 0
        while left:
            results = await driver.publish(queue, left)
            left, rounds = (
                [message for message, result in zip(left, results, strict=bool(results)) if result],
                rounds + 1,
            )
        assert rounds == 2
        got: list[str] = []
        while len(got) < len(batch):
            received = await take(driver, queue)
            got += [each.id for each in received]
            assert not await driver.settle(queue, [Ack(each.receipt) for each in received])
        assert [id for id in got if int(id) % 2 == 0] == ["0", "2", "4", "6"]
        assert [id for id in got if int(id) % 2 == 1] == ["1", "3", "5", "7"]


async def test_a_part_that_is_lost_has_an_unknown_outcome(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue)) as driver:
        gate.rule = once("SendMessageBatch", Lost())
        results = await driver.publish(queue, messages(20))
        assert sorted(result is None for result in results) == [False] * 10 + [True] * 10
        assert all(result.outcome == "unknown" for result in results if result is not None)
        assert len(await take(driver, queue, 20)) == 20  # it was stored after all


async def test_a_body_that_sqs_stored_otherwise_is_not_confirmed(gate: Gate, queue: str) -> None:
    def change(answer: Body) -> None:
        answer["Successful"][1]["MD5OfMessageBody"] = "0" * 32

    for is_checked in (True, False):
        async with opened(gate.port, QueueSpec(queue), disable_message_checksum_validation=not is_checked) as driver:
            gate.rule = once("SendMessageBatch", Changed(change))
            results = await driver.publish(queue, messages(3))
            if is_checked:
                assert [result is None for result in results] == [True, False, True]
                assert results[1] is not None
                assert results[1].outcome == "unknown"
            else:
                assert list(results) == []


async def test_a_body_that_arrives_damaged_is_not_handed_out(gate: Gate, queue: str) -> None:
    def change(answer: Body) -> None:
        answer["Messages"][0]["Body"] = "ydob"

    async with opened(gate.port, QueueSpec(queue, lease=1.0)) as driver:
        await driver.publish(queue, messages(1))
        gate.rule = once("ReceiveMessage", Changed(change))
        with pytest.raises(BrokerUnavailableError, match="damaged"):
            await driver.receive(queue, 1, 1.0)
        (got,) = await take(driver, queue)
        assert (got.body, got.attempt, got.suspect) == (b"body", 1, True)


async def test_what_arrives_with_a_damaged_one_is_handed_out(gate: Gate, queue: str) -> None:
    damaged: list[int] = []

    def change(answer: Body) -> None:
        if len(answer["Messages"]) > 1:
            damaged.append(len(answer["Messages"]))
            answer["Messages"][0]["Body"] = "ydob"

    async with opened(gate.port, QueueSpec(queue, lease=600.0)) as driver:
        await driver.publish(queue, messages(10))
        gate.rule = once("ReceiveMessage", Changed(change))
        got = await driver.receive(queue, 10, 1.0)
        assert len(damaged) == 1
        assert len(got) == damaged[0] - 1


async def test_a_delay_that_sqs_would_not_outlive_is_refused_in_a_fifo_queue(gate: Gate, queue: str) -> None:
    """SQS counts the retention from the sending; a standard queue sends a delayed message again in between."""
    fifo, standard = QueueSpec(f"{queue}.fifo", ordering="key"), QueueSpec(queue)
    day = 86_400.0
    async with opened(gate.port, fifo, standard, message_retention_period=day) as driver:
        (late,) = messages(1, key="k", delay=day)
        (soon,) = messages(1, key="l", delay=day - 1)
        with pytest.raises(UnsupportedError, match="MessageRetentionPeriod"):
            await driver.publish(fifo.name, [late])
        assert [type(result) for result in await driver.publish(fifo.name, [late, soon])] == [
            UnsupportedError,
            type(None),
        ]
        assert not any(await driver.publish(standard.name, [late]))


async def test_what_comes_behind_a_failure_in_a_fifo_queue_is_not_sent(gate: Gate, queue: str) -> None:
    """Published again, all of it keeps its order."""
    async with opened(gate.port, QueueSpec(queue, ordering="key")) as driver:
        gate.rule = once("SendMessageBatch", Answer(503, "ServiceUnavailable"))
        batch = messages(25, key="k")
        results = await driver.publish(queue, batch)
        assert [None if result is None else result.outcome for result in results] == ["unknown"] + ["rejected"] * 24
        assert all(result is not None and result.retryable for result in results)
        assert gate.times("SendMessageBatch") == 1
        assert list(await driver.publish(queue, batch)) == []
        for message in batch:
            (got,) = await take(driver, queue)
            assert got.id == message.id
            await driver.settle(queue, [Ack(got.receipt)])
