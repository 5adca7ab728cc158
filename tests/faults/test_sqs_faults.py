"""SQS at its worst: throttled, half failing, frozen, cut off, queues deleted, keys wrong; and messages of others."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Received, Release
from tasuki.drivers.sqs.aws import AwsConfig
from tasuki.drivers.sqs.driver import SQSDriver
from tasuki.drivers.sqs.receiving import settling
from tasuki.drivers.sqs.sending import publishing
from tasuki.drivers.sqs.settings import SQSSettings
from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    QueueNotFoundError,
    ThrottledError,
    UnsupportedError,
)
from tasuki.testing.proxy import Proxy
from tests.support.brokers.sqs import SQS
from tests.support.brokers.sqs_gate import Answer, Body, Changed, Gate, Lost, Partly, Rule

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

PATIENCE = 20.0
SECRET = "wJalrXUtnFEMI-not-a-real-one"


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate(SQS.shared().port)
    yield made
    made.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy(SQS.shared().port)
    yield made
    made.close()


@pytest.fixture
def queue() -> str:
    return f"q-{uuid4().hex}"


def driver_at(port: int, **fields: Any) -> SQSDriver:
    config = AwsConfig(region="us-east-1", access_key_id="AKIA-canary", secret_access_key=SECRET)
    return SQSDriver("sqs", SQSSettings(config=config, endpoint=f"http://127.0.0.1:{port}", **fields))


@asynccontextmanager
async def opened(port: int, *specs: QueueSpec, **fields: Any) -> AsyncIterator[SQSDriver]:
    driver = driver_at(port, **fields)
    async with asyncio.timeout(PATIENCE * 2):
        try:
            for spec in specs:
                await driver.declare(spec)
            await driver.open()
            yield driver
        finally:
            await driver.close()


async def take(driver: SQSDriver, queue: str, number: int = 1) -> list[Received]:
    taken: list[Received] = []
    end = time.monotonic() + PATIENCE
    while len(taken) < number:
        taken += await driver.receive(queue, number - len(taken), 1.0)
        assert time.monotonic() < end, f"{number} messages expected, {len(taken)} came"
    return taken


def messages(number: int, **fields: Any) -> list[Outgoing]:
    return [Outgoing(f"{index}", b"body", {}, **fields) for index in range(number)]


def once(operation: str, decision: Any) -> Rule:
    """The decision for the first request of a kind."""
    left = [decision]
    return lambda seen, body: left.pop() if seen == operation and left else None


def always(operation: str, decision: Any) -> Rule:
    return lambda seen, body: decision if seen == operation else None


# What SQS answers ----------------------------------------------------------------------------------------------------


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


async def attributes_of(driver: SQSDriver, queue: str) -> dict[str, str]:
    session = driver._guard.current
    assert session is not None
    names = ["MessageRetentionPeriod", "DelaySeconds", "VisibilityTimeout"]
    url = session.sources[queue].url
    answer = await session._clients.call("get_queue_attributes", queue, QueueUrl=url, AttributeNames=names)
    return dict(answer["Attributes"])


async def test_the_options_of_a_queue_are_its_attributes_also_when_it_exists(gate: Gate, queue: str) -> None:
    options = {"message_retention_period": 3600.0, "default_delay_seconds": 7.0, "default_visibility_timeout": 45.0}
    wanted = {"MessageRetentionPeriod": "3600", "DelaySeconds": "7", "VisibilityTimeout": "45"}
    async with opened(gate.port, QueueSpec(queue, options=options)) as driver:
        assert await attributes_of(driver, queue) == wanted
        await driver.declare(QueueSpec(queue, lease=90.0))
        assert await attributes_of(driver, queue) == wanted, "what no option names is left as it is"
        assert gate.times("SetQueueAttributes") == 0
        await driver.declare(QueueSpec(queue, options={"default_delay_seconds": 0.0}))
        assert await attributes_of(driver, queue) == {**wanted, "DelaySeconds": "0"}
        assert gate.times("SetQueueAttributes") == 1
    async with opened(gate.port) as looker:
        found = await looker.inspect(QueueSpec(queue, options={**options, "default_delay_seconds": 9.0}))
        assert found.options == {**options, "default_delay_seconds": 0.0}


async def test_the_retention_of_a_queue_decides_which_delay_it_outlives(gate: Gate, queue: str) -> None:
    spec = QueueSpec(f"{queue}.fifo", ordering="key", options={"message_retention_period": 60.0})
    async with opened(gate.port, spec) as driver:
        with pytest.raises(UnsupportedError, match="its option message_retention_period"):
            await driver.publish(spec.name, messages(1, key="k", delay=60.0))


async def test_who_may_not_read_attributes_leaves_them_as_they_are(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue)):
        pass
    gate.rule = lambda operation, body: Answer(403, "AccessDenied") if operation == "GetQueueAttributes" else None
    async with opened(gate.port, QueueSpec(queue, options={"default_visibility_timeout": 45.0})) as driver:
        assert gate.times("SetQueueAttributes") == 0
        assert list(await driver.publish(queue, messages(1))) == []


async def test_what_comes_behind_a_failure_in_a_fifo_queue_is_not_sent(gate: Gate, queue: str) -> None:
    """Published again, all of it keeps its order."""
    async with opened(gate.port, QueueSpec(queue, ordering="key")) as driver:
        gate.rule = once("SendMessageBatch", Answer(503, "ServiceUnavailable"))
        batch = messages(25, key="k")
        results = await driver.publish(queue, batch)
        assert [None if result is None else result.outcome for result in results] == ["unknown"] * 10 + [
            "rejected"
        ] * 15
        assert all(result is not None and result.retryable for result in results)
        assert gate.times("SendMessageBatch") == 1
        assert list(await driver.publish(queue, batch)) == []
        for message in batch:
            (got,) = await take(driver, queue)
            assert got.id == message.id
            await driver.settle(queue, [Ack(got.receipt)])


# Settling ------------------------------------------------------------------------------------------------------------


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


# Delays --------------------------------------------------------------------------------------------------------------


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
            assert time.monotonic() - began < PATIENCE
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


async def test_a_hop_that_fails_does_not_count_either(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue, lease=1.0)) as driver:
        gate.rule = lambda operation, body: (
            [entry.pop("DelaySeconds", None) for entry in body["Entries"]] and None
            if operation == "SendMessageBatch"
            else None
        )
        began = time.monotonic()
        await driver.publish(queue, [Outgoing("late", b"body", {}, delay=901.0)])
        gate.rule = once("SendMessageBatch", Answer(503, "ServiceUnavailable"))
        assert await driver.receive(queue, 1, 0.0) == []
        while gate.times("DeleteMessageBatch") < 1:
            assert await driver.receive(queue, 1, 1.0) == []
            assert time.monotonic() - began < PATIENCE
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


# Leases --------------------------------------------------------------------------------------------------------------


async def test_a_nack_waits_for_an_extension_that_is_under_way(gate: Gate, queue: str) -> None:
    """Else the extension, arriving later, would bring the message back at the end of the lease, not of the delay."""
    began, proceed = asyncio.Event(), asyncio.Event()
    async with opened(gate.port, QueueSpec(queue, lease=5.0, ordering="key")) as driver:
        await driver.publish(queue, messages(1, key="k"))
        (got,) = await take(driver, queue)
        session = driver._guard.current
        assert session is not None
        call = session.settling._clients.call

        async def slow(operation: str, *arguments: Any, **parameters: Any) -> Any:
            if operation == "change_message_visibility_batch" and not began.is_set():
                began.set()
                await proceed.wait()
            return await call(operation, *arguments, **parameters)

        session.settling._clients.call = slow  # type: ignore[method-assign]
        extending = asyncio.create_task(driver.extend(queue, [got.receipt], 5.0))
        await began.wait()
        settling = asyncio.create_task(driver.settle(queue, [Nack(got.receipt, 600.0)]))
        await asyncio.sleep(0.05)
        assert gate.times("ChangeMessageVisibilityBatch") == 0
        proceed.set()
        await asyncio.gather(extending, settling)
        seconds = [
            seen.body["Entries"][0]["VisibilityTimeout"]
            for seen in gate.seen
            if seen.operation == "ChangeMessageVisibilityBatch"
        ]
        assert seconds == [5, 600]


async def test_an_extension_that_failed_in_part_is_told_and_the_rest_is_extended(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue, lease=2.0)) as driver:
        await driver.publish(queue, messages(2))
        lost, kept = await take(driver, queue, 2)
        gate.rule = once("ChangeMessageVisibilityBatch", Partly({0: "InternalError"}))
        with pytest.raises(BrokerUnavailableError):
            await driver.extend(queue, [lost.receipt, kept.receipt], 30.0)
        (again,) = await take(driver, queue)
        assert (again.id, again.attempt, again.suspect) == (lost.id, 1, True)
        assert list(await driver.settle(queue, [Ack(lost.receipt), Ack(kept.receipt)])) == [lost.receipt]


async def test_the_client_of_another_loop_is_closed_there(queue: str) -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        async with opened(SQS.shared().port, QueueSpec(queue)) as driver:
            await driver.publish(queue, messages(1))
            (got,) = await take(driver, queue)
            extending = asyncio.run_coroutine_threadsafe(driver.extend(queue, [got.receipt], 30.0), loop)
            assert list(await asyncio.wrap_future(extending)) == []
            session = driver._guard.current
            assert session is not None
            clients = list(session._clients._entries.values())
            assert len(clients) == 2
        with pytest.raises(BrokerUnavailableError):
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(driver.extend(queue, [], 30.0), loop))
        assert all(entry.keeper is not None and entry.keeper.ag_frame is None for entry in clients)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)
        loop.close()


# The broker away -----------------------------------------------------------------------------------------------------


async def test_a_frozen_broker_is_noticed_in_time_and_used_again_afterwards(queue: str) -> None:
    broker = SQS()
    broker.start()
    try:
        async with opened(broker.port, QueueSpec(queue), request_timeout=1.0, connect_timeout=1.0) as driver:
            await driver.publish(queue, messages(1))
            (got,) = await take(driver, queue)
            broker.freeze()
            verbs: list[Callable[[], Any]] = [
                lambda: driver.publish(queue, messages(1)),
                lambda: driver.receive(queue, 1, 0.0),
                lambda: driver.settle(queue, [Ack(got.receipt)]),
                lambda: driver.extend(queue, [got.receipt], 30.0),
                lambda: driver.depth(queue),
            ]
            for verb in verbs:
                began = time.monotonic()
                with pytest.raises(BrokerTimeoutError) as caught:
                    await verb()
                assert caught.value.retryable
                assert time.monotonic() - began < 5.0
            broker.thaw()
            assert list(await driver.settle(queue, [Ack(got.receipt)])) == []
            broker.freeze()
            began = time.monotonic()
            await driver.close()
            assert time.monotonic() - began < 10.0
            broker.thaw()
    finally:
        broker.end()


async def test_a_close_ends_what_a_silent_broker_does_not_answer(proxy: Proxy, queue: str) -> None:
    async with opened(proxy.port, QueueSpec(queue), request_timeout=60.0) as driver:
        await driver.publish(queue, messages(1))
        (got,) = await take(driver, queue)
        proxy.silence()
        work = [
            asyncio.create_task(driver.settle(queue, [Ack(got.receipt)])),
            asyncio.create_task(driver.receive(queue, 1, 30.0)),
        ]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await driver.close()
        assert time.monotonic() - began < 15.0
        settled, received = await asyncio.gather(*work, return_exceptions=True)
        assert isinstance(settled, BrokerUnavailableError)
        assert received == []


async def test_a_broker_that_is_away_at_the_start(queue: str) -> None:
    proxy = Proxy(SQS.shared().port)
    proxy.refuse()
    try:
        for specs in ([], [QueueSpec(queue)]):
            driver = driver_at(proxy.port)
            for spec in specs:
                await driver.declare(spec)
            with pytest.raises(BrokerUnavailableError):
                await driver.open()
            proxy.serve()
            await driver.open()
            await driver.close()
            proxy.refuse()
    finally:
        proxy.close()


class Load:
    """Publishers and consumers at one queue, who go on whatever happens, and what they know."""

    def __init__(self, driver: SQSDriver, queue: str) -> None:
        self.driver = driver
        self.queue = queue
        self.confirmed: set[str] = set()
        self.doubtful: set[str] = set()
        self.seen: set[str] = set()
        self.over = asyncio.Event()

    async def publish(self) -> None:
        numbers = count()
        while not self.over.is_set():
            batch = [Outgoing(f"{next(numbers)}", b"body", {}) for _ in range(5)]
            try:
                results = list(await self.driver.publish(self.queue, batch)) or [None] * 5
            except DriverError as error:
                results = [error] * 5
            for message, result in zip(batch, results, strict=True):
                if result is None:
                    self.confirmed.add(message.id)
                elif result.outcome == "unknown":
                    self.doubtful.add(message.id)
            await asyncio.sleep(0.002)

    async def consume(self) -> None:
        while not self.over.is_set():
            await self.consume_some()

    async def consume_some(self) -> None:
        try:
            got = await self.driver.receive(self.queue, 20, 1.0)
            self.seen.update(received.id for received in got)
            if got:
                await self.driver.settle(self.queue, [Ack(received.receipt) for received in got])
        except DriverError:
            await asyncio.sleep(0.01)


async def test_cut_connections_under_load_lose_nothing(proxy: Proxy, queue: str) -> None:
    async with opened(proxy.port, QueueSpec(queue, lease=2.0)) as driver:
        load = Load(driver, queue)
        work = [asyncio.create_task(load.publish()), *(asyncio.create_task(load.consume()) for _ in range(3))]
        for _ in range(10):
            await asyncio.sleep(0.1)
            proxy.cut()
        load.over.set()
        await asyncio.gather(*work)
        end = time.monotonic() + PATIENCE
        while not load.confirmed <= load.seen:
            assert time.monotonic() < end, f"lost: {load.confirmed - load.seen}"
            await load.consume_some()
    assert load.confirmed
    assert load.seen <= load.confirmed | load.doubtful


async def test_a_poll_that_its_caller_left_hands_its_message_back_uncounted(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue)) as driver, opened(gate.port, QueueSpec(queue)) as other:
        waiting = asyncio.create_task(driver.receive(queue, 1, 30.0))
        while not gate.times("ReceiveMessage"):
            await asyncio.sleep(0.005)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await driver.publish(queue, messages(1))
        (got,) = await take(other, queue)
        assert got.attempt == 1


async def test_a_close_waits_for_the_poll_under_way_and_hands_back_what_it_brings(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue, lease=60.0)) as other:
        driver = driver_at(gate.port)
        await driver.declare(QueueSpec(queue, lease=60.0))
        await driver.open()
        waiting = asyncio.create_task(driver.receive(queue, 1, 30.0))
        while not gate.times("ReceiveMessage"):
            await asyncio.sleep(0.005)
        closing = asyncio.create_task(driver.close())
        assert await waiting == []
        await other.publish(queue, messages(1))
        await closing
        (got,) = await take(other, queue)
        assert got.attempt == 1


# Queues and keys -----------------------------------------------------------------------------------------------------


async def test_a_queue_deleted_underneath_is_not_found_until_it_is_declared_again(queue: str) -> None:
    port = SQS.shared().port
    async with opened(port, QueueSpec(queue)) as driver, opened(port, QueueSpec(queue)) as other:
        await driver.publish(queue, messages(1))
        (got,) = await take(driver, queue)
        await other.delete(queue)
        verbs: list[Callable[[], Any]] = [
            lambda: driver.publish(queue, messages(1)),
            lambda: driver.receive(queue, 1, 0.0),
            lambda: driver.settle(queue, [Ack(got.receipt)]),
            lambda: driver.depth(queue),
        ]
        for verb in verbs:
            with pytest.raises(QueueNotFoundError) as caught:
                await verb()
            assert (caught.value.retryable, caught.value.outcome) == (False, "rejected")
        await driver.declare(QueueSpec(queue))
        await driver.publish(queue, messages(1))
        assert len(await take(driver, queue)) == 1


@pytest.mark.parametrize("code", ["InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken"])
async def test_wrong_keys_are_refused_at_the_start_and_never_shown(gate: Gate, queue: str, code: str) -> None:
    gate.rule = lambda operation, body: Answer(403, code, f"you signed AKIA-canary {SECRET}")
    for specs in ([], [QueueSpec(queue)]):
        driver = driver_at(gate.port)
        for spec in specs:
            await driver.declare(spec)
        with pytest.raises(AccessDeniedError) as caught:
            await driver.open()
        assert code in str(caught.value)
        assert "canary" not in str(caught.value) + repr(driver)
        assert SECRET not in str(caught.value) + repr(vars(driver))


async def test_a_publisher_that_may_only_send_needs_no_other_right(gate: Gate, queue: str) -> None:
    async with opened(SQS.shared().port, QueueSpec(queue)):
        pass
    gate.rule = lambda operation, body: (
        None
        if operation in {"SendMessageBatch"} or (operation == "GetQueueUrl" and body["QueueName"] == queue)
        else Answer(403, "AccessDenied")
    )
    async with opened(gate.port, QueueSpec(queue)) as driver:
        assert list(await driver.publish(queue, messages(3))) == []


async def test_keys_that_may_do_nothing_yet_open_without_queues(gate: Gate) -> None:
    gate.rule = lambda operation, body: Answer(403, "AccessDenied")
    async with opened(gate.port):
        pass


async def test_a_queue_made_by_somebody_else_at_the_same_time_is_taken_as_it_is(gate: Gate, queue: str) -> None:
    async with opened(SQS.shared().port, QueueSpec(queue, lease=77.0)):
        pass
    found = iter([None, Answer(400, "QueueDoesNotExist")])  # the look at its other sort, and then at itself
    gate.rule = lambda operation, body: next(found, None) if operation == "GetQueueUrl" else None
    async with opened(gate.port, QueueSpec(queue)) as driver:
        assert gate.times("CreateQueue") == 1
        assert list(await driver.publish(queue, messages(1))) == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_length": 5}, "cannot bound a queue"),
        ({"dedup_window": 60.0}, "5 minutes, no more and no less"),
        ({"dedup_window": 3600.0}, "use 5m"),
        ({"lease": 50_000.0}, "12 hours at most"),
    ],
)
async def test_what_sqs_cannot_do_is_refused(queue: str, options: Any, problem: str) -> None:
    driver = driver_at(1)
    with pytest.raises(UnsupportedError, match=problem):
        await driver.declare(QueueSpec(queue, **options))


# Messages of others --------------------------------------------------------------------------------------------------


async def _send(driver: SQSDriver, queue: str, **parameters: Any) -> str:
    """As another program would, with nothing of ours."""
    session = driver._guard.current
    assert session is not None
    url = session.sources[queue].url
    answer = await session._clients.call("send_message", queue, QueueUrl=url, **parameters)
    return str(answer["MessageId"])


async def test_a_foreign_message_arrives_with_what_can_be_read(queue: str) -> None:
    attributes = {
        "content_type": {"DataType": "String", "StringValue": "json/plain"},
        "count": {"DataType": "Number", "StringValue": "12"},
        "share": {"DataType": "Number.float", "StringValue": "0.5"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\0\xff"},
        "tasuki": {"DataType": "String", "StringValue": "not ours"},
    }
    async with opened(SQS.shared().port, QueueSpec(queue)) as driver:
        id = await _send(driver, queue, MessageBody='{"hello": "🎌"}', MessageAttributes=attributes)
        for kind, attempt in ((Nack, 1), (Release, 2), (Release, 2), (Ack, 2)):
            (got,) = await take(driver, queue)
            assert (got.id, got.body.decode(), got.attempt) == (id, '{"hello": "🎌"}', attempt)
            assert got.headers == {
                "content_type": "json/plain",
                "count": 12,
                "share": 0.5,
                "raw": base64.b64encode(b"\0\xff").decode(),
                "tasuki": "not ours",
            }
            await driver.settle(queue, [kind(got.receipt)])


async def test_a_foreign_message_with_all_its_attributes_survives_a_release(queue: str) -> None:
    attributes = {f"a{number}": {"DataType": "String", "StringValue": f"{number}"} for number in range(10)}
    async with opened(SQS.shared().port, QueueSpec(queue)) as driver:
        id = await _send(driver, queue, MessageBody="plain", MessageAttributes=attributes)
        for _ in range(2):
            (got,) = await take(driver, queue)
            assert (got.id, got.attempt) == (id, 1)
            assert got.headers == {f"a{number}": f"{number}" for number in range(10)}
            await driver.settle(queue, [Release(got.receipt)])


async def test_what_is_published_can_be_read_by_others(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, [Outgoing("id", '{"a": "é"}'.encode(), {"n": 1})])
        (entry,) = next(seen.body["Entries"] for seen in gate.seen if seen.operation == "SendMessageBatch")
        assert entry["MessageBody"] == '{"a": "é"}'
        assert set(entry["MessageAttributes"]) == {"tasuki"}


async def test_own_limits_are_checked_before_the_call(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue)) as driver:
        batch = [
            Outgoing("text", b"x" * 1_048_577, {}),
            Outgoing("binary", bytes(737_281), {}),
            Outgoing("headers", b"x", {"h": "y" * 1_048_576}),
            Outgoing("broken", b"x", {"h": "\ud800"}),
            Outgoing("infinite", b"x", {"h": float("inf")}),
            Outgoing("number", b"x", {"h": 2**70}),
        ]
        results = await driver.publish(queue, batch)
        assert [type(result) for result in results] == [MessageTooLargeError] * 3 + [UnsupportedError] * 3
        assert gate.times("SendMessageBatch") == 0


async def test_large_messages_are_sent_in_requests_that_fit(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue)) as driver:
        batch = [Outgoing(f"{index}", b"x" * 400_000, {}) for index in range(5)]
        assert list(await driver.publish(queue, batch)) == []
        assert gate.times("SendMessageBatch") == 3
        assert len(await take(driver, queue, 5)) == 5
