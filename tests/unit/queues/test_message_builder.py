"""The messages that a queue builds from bodies and options."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasuki.contracts.driver import Capabilities, Outgoing
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import (
    CodecError,
    MessageTooLargeError,
    PublishError,
    QueueNotFoundError,
    UnsupportedError,
)
from tasuki.message import Message
from tasuki.queues.messages.message_builder import Envelope, envelope_of
from tasuki.queues.result import Confirmed, Rejected
from tasuki.testing.clock import EPOCH, FakeClock
from tests.unit.consumers.parts import make_queue
from tests.unit.queues.fake import FakeDriver, memory_queue, only

pytestmark = pytest.mark.anyio


async def test_priority_and_key_as_headers_mean_the_same() -> None:
    driver = FakeDriver()
    queue = make_queue(driver)
    seen: list[Outgoing] = []
    driver.answer = lambda batch: seen.extend(batch) or ()  # type: ignore[func-returns-value]
    await queue.publish(1, {"priority": 3, "partition_key": "k"})
    await queue.publish(1, {"priority": 3}, priority=5)
    await queue.publish(1)
    assert [(message.priority, message.key) for message in seen] == [(3, "k"), (5, None), (0, None)]
    assert seen[1].headers["priority"] == 5


@pytest.mark.parametrize(
    ("capabilities", "options", "problem"),
    [
        ({"max_delay": 900.0}, {"delay": 901}, "cannot delay messages for longer than 15m;"),
        ({}, {"priority": 1}, "cannot hand out messages by priority;"),
        ({}, {"headers": {"priority": 9}}, "cannot hand out messages by priority;"),
    ],
)
async def test_what_the_driver_cannot_do_is_refused_and_never_ignored(
    capabilities: dict[str, Any], options: dict[str, Any], problem: str
) -> None:
    class Plain(FakeDriver):
        pass

    Plain.capabilities = Capabilities(**capabilities)
    queue = make_queue(driver := Plain())
    with pytest.raises(UnsupportedError, match=problem) as caught:
        await queue.publish(1, **options)
    assert caught.value.outcome == "rejected"
    assert not caught.value.retryable
    (result,) = await queue.publish_many([Envelope(body=1, **options)])
    assert isinstance(result, Rejected)
    assert not result.retryable
    assert driver.batches == []


async def test_what_asks_for_nothing_is_no_use_of_it() -> None:
    class Plain(FakeDriver):
        capabilities = Capabilities()

    queue = make_queue(driver := Plain())
    await queue.publish(1, delay=0, priority=0, key="k")
    assert len(driver.stored) == 1


async def test_a_timestamp_of_ones_own_is_kept() -> None:
    queue = await memory_queue()
    await queue.publish(1, {"timestamp": 5})
    assert (await only(queue)).headers["timestamp"] == 5


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"headers": {"attempts": 1}}, "reserved"),
        ({"headers": {"x_last_error": "a"}}, "reserved"),
        ({"id": ""}, "message id"),
        ({"key": "\0"}, "key must be text"),
        ({"priority": 10}, "priority must be"),
        ({"headers": {"priority": "high"}}, "priority must be"),
        ({"headers": {"partition_key": 5}}, "key must be text"),
        ({"delay": "soon"}, "delay: 'soon' is not a duration"),
        ({"delay": -5}, "delay: -5"),
        ({"delay": float("inf")}, "delay"),
        ({"ttl": 5}, "ttl needs somewhere for expired messages to go"),
        ({"publish_timeout": "x"}, "publish_timeout: 'x'"),
        ({"at": datetime(2026, 1, 1)}, r"at must be a datetime with a time zone, not .*datetime.now\(UTC\)"),
        ({"at": "tomorrow"}, "at must be a datetime with a time zone, not 'tomorrow'"),
        ({"at": datetime(2026, 1, 1, tzinfo=UTC), "delay": "5s"}, "a delay or a time at which it is due"),
    ],
)
async def test_what_must_not_be_published(options: dict[str, Any], problem: str) -> None:
    queue = await memory_queue()
    with pytest.raises(PublishError, match=problem):
        await queue.publish(1, **options)
    assert (await queue.depth()).ready == 0
    assert queue.metrics.published == 0


async def test_a_time_of_delivery_is_a_delay_until_then() -> None:
    queue = await memory_queue()
    now = datetime.fromtimestamp(EPOCH, UTC)
    later, before = now + timedelta(hours=1), now - timedelta(hours=1)
    await queue.publish(1, at=later)
    await queue.publish(2, at=before)
    await queue.publish_many([Envelope(body=3, at=later), Envelope(body=4, at=before)])
    assert isinstance((await queue.publish_many([Envelope(body=5, at=later, delay=1)]))[0], Rejected)
    await queue.publish_many([Envelope(body=6, delay=timedelta(minutes=1)), envelope_of(b'{"body": 7, "delay": "1m"}')])
    depth = await queue.depth()
    assert (depth.ready, depth.delayed) == (2, 4)
    assert [message.body for message in await queue.peek(10)][:2] == [b"2", b"4"]


async def test_checks_come_in_their_order() -> None:
    """Headers, then the id, then the body, then its size, then what the driver says."""
    queue = make_queue(MemoryDriver("app:driver", clock=FakeClock()), max_message_size=5, clock=FakeClock())
    await queue.driver.open()
    with pytest.raises(PublishError, match="reserved"):
        await queue.publish(object(), {"attempts": 1}, id="")
    with pytest.raises(PublishError, match="message id"):
        await queue.publish(object(), id="")
    with pytest.raises(CodecError):
        await queue.publish(object())
    with pytest.raises(MessageTooLargeError, match=r"8 bytes is larger than max_message_size \(5 bytes\)"):
        await queue.publish("123456")
    with pytest.raises(QueueNotFoundError) as caught:
        await queue.publish("123", id="mine")
    assert caught.value.message_id == "mine"
    assert caught.value.outcome == "rejected"


async def test_exactly_the_largest_size() -> None:
    queue = await memory_queue(max_message_size=5)
    await queue.publish("123")
    with pytest.raises(MessageTooLargeError):
        await queue.publish("1234")
    assert [type(result) for result in await queue.publish_many(["123", "1234"])] == [Confirmed, Rejected]


@pytest.mark.parametrize(
    ("policy", "ttl", "expires"), [({}, 5, 5), ({"message_ttl": 60}, None, 60), ({"message_ttl": 60}, "5s", 5)]
)
@pytest.mark.parametrize("way", [{"dead_letter": "app:dead"}, {"drop_expired": True}])
async def test_time_to_live(policy: dict[str, Any], ttl: Any, expires: float, way: dict[str, Any]) -> None:
    queue = await memory_queue(**policy, **way)
    await queue.publish(1, ttl=ttl)
    assert (await only(queue)).headers["x_expires_at"] == EPOCH + expires


async def test_the_ttl_of_the_queue_counts_for_batches_too() -> None:
    queue = await memory_queue(message_ttl=60, drop_expired=True)
    await queue.publish_many([1])
    assert (await only(queue)).headers["x_expires_at"] == EPOCH + 60


@pytest.mark.parametrize("body", [b"\0\xff", bytearray(b"\0\xff"), memoryview(b"\0\xff")])
async def test_bytes_travel_as_they_are(body: Any) -> None:
    queue = await memory_queue()
    await queue.publish_many([body])
    message = await only(queue)
    assert (message.body, message.headers["content_type"]) == (b"\0\xff", "application/octet-stream")
    assert queue.decode(message) == b"\0\xff"


async def test_bytes_in_a_queue_of_bytes_say_so() -> None:
    queue = await memory_queue(codec="bytes")
    await queue.publish(b"x")
    message = await only(queue)
    assert message.headers["content_type"] == "application/octet-stream"
    assert queue.decode(message) == b"x"


async def test_bytes_that_are_encoded_already_keep_their_content_type() -> None:
    queue = await memory_queue()
    await queue.publish(b"[1]", {"content_type": "application/json"})
    assert queue.decode(await only(queue)) == [1]


@pytest.mark.parametrize("name", ["application/msgpack", "msgpack", "text/plain"])
async def test_a_content_type_is_what_the_body_is_encoded_as(name: str) -> None:
    """Else headers that are passed on from a message of another queue would make the body unreadable."""
    queue = await memory_queue()
    await queue.publish({"a": 1}, {"content_type": name})
    message = await only(queue)
    assert message.headers["content_type"] == name
    assert queue.decode(message) == {"a": 1}
    assert message.body.startswith(b"\x81") is name.endswith("msgpack")


async def test_an_unknown_or_foreign_content_type_is_read_as_the_queues_own() -> None:
    queue = await memory_queue()
    assert queue.decode(Message("1", b"[1]", {"content_type": 5})) == [1]
    assert queue.decode(Message("1", b"[1]", {"content_type": "text/plain"})) == [1]
