"""Options and attributes of queues, deleted queues, wrong keys and missing rights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, QueueSpec
from tasuki.drivers.sqs.driver import SQSDriver
from tasuki.errors import AccessDeniedError, QueueNotFoundError, UnsupportedError
from tests.faults.sqs.rig import SECRET, driver_at, messages, opened
from tests.support.brokers.rig import take
from tests.support.brokers.sqs import SQS
from tests.support.brokers.sqs_gate import Answer, Gate

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


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
