"""Messages of other programs, and sizes that SQS takes."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Release
from tasuki.drivers.sqs.driver import SQSDriver
from tasuki.errors import MessageTooLargeError, UnsupportedError
from tests.faults.sqs.rig import opened
from tests.support.brokers.rig import take
from tests.support.brokers.sqs import SQS
from tests.support.brokers.sqs_gate import Gate

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


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
