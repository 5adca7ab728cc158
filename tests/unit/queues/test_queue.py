from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.contracts.driver import Outgoing
from tasuki.drivers.memory import MemoryDriver
from tasuki.errors import (
    BrokerTimeoutError,
    BrokerUnavailableError,
    CodecError,
    DriverError,
    MessageTooLargeError,
    PublishError,
    QueueFullError,
    QueueNotFoundError,
)
from tasuki.message import Message
from tasuki.queues.queue import Envelope, Queue
from tasuki.queues.result import Confirmed, Rejected, Unknown
from tasuki.testing.clock import EPOCH, FakeClock
from tests.unit.consumers.parts import make_queue
from tests.unit.queues.fake import FakeDriver, raising

pytestmark = pytest.mark.anyio


async def memory_queue(**options: Any) -> Queue:
    clock = FakeClock()
    driver = MemoryDriver("app:driver", clock=clock)
    queue = make_queue(driver, clock=clock, **options)
    await driver.declare(queue.spec)
    await driver.open()
    return queue


async def only(queue: Queue) -> Message:
    (message,) = await queue.peek()
    return message


async def test_a_body_and_nothing_else() -> None:
    queue = await memory_queue()
    confirmed = await queue.publish({"a": [1, None]})
    message = await only(queue)
    assert confirmed == Confirmed(message.id, "memory")
    assert message.body == b'{"a":[1,null]}'
    assert message.headers == {"timestamp": int(EPOCH)}
    assert queue.decode(message) == {"a": [1, None]}
    assert queue.metrics.published == 1


async def test_everything_beside_the_body() -> None:
    queue = await memory_queue(ordering="key", dead_letter="app:dead")
    await queue.publish(1, {"n": 1}, delay="5s", ttl="1m", priority=7, key="k", id="mine")
    (received,) = await queue.peek()
    assert received.id == "mine"
    assert received.headers == {
        "timestamp": int(EPOCH),
        "n": 1,
        "x_expires_at": EPOCH + 60,
        "priority": 7,
        "partition_key": "k",
    }
    assert (await queue.depth()).delayed == 1


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


async def test_what_the_publisher_changes_later_changes_nothing() -> None:
    queue = await memory_queue()
    body, headers = {"a": [1]}, {"h": 1}
    await queue.publish(body, headers)
    body["a"].append(2)
    headers["h"] = 2
    message = await only(queue)
    assert (message.body, message.headers["h"]) == (b'{"a":[1]}', 1)


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
        ({"timeout": "x"}, "timeout: 'x'"),
    ],
)
async def test_what_must_not_be_published(options: dict[str, Any], problem: str) -> None:
    queue = await memory_queue()
    with pytest.raises(PublishError, match=problem):
        await queue.publish(1, **options)
    assert (await queue.depth()).ready == 0
    assert queue.metrics.published == 0


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


async def test_bytes_in_a_queue_of_bytes_need_no_header() -> None:
    queue = await memory_queue(codec="bytes")
    await queue.publish(b"x")
    message = await only(queue)
    assert "content_type" not in message.headers
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


async def test_a_batch_tells_for_each() -> None:
    queue = await memory_queue(max_length=3, overflow="reject")
    results = await queue.publish_many(
        [1, Envelope(body=2, id="two"), object(), Envelope(body=3, id="bad", headers={"attempts": 1}), 4, 5]
    )
    assert [type(result) for result in results] == [Confirmed, Confirmed, Rejected, Rejected, Confirmed, Rejected]
    ids = [result.id for result in results]
    assert ids[1] == "two"
    assert ids[2:4] == ["", "bad"]
    assert len({*ids}) == 6
    full = results[5]
    assert isinstance(full, Rejected)
    assert full.retryable
    assert isinstance(full.error, QueueFullError)
    assert full.error.message_id == full.id
    assert [message.body for message in await queue.peek()] == [b"1", b"2", b"4"]
    assert (queue.metrics.published, queue.metrics.rejected, queue.metrics.unknown) == (3, 1, 0)


async def test_an_empty_batch_and_one_with_nothing_to_send() -> None:
    queue = await memory_queue()
    assert await queue.publish_many([]) == []
    assert [type(result) for result in await queue.publish_many([object()])] == [Rejected]
    with pytest.raises(PublishError, match="timeout"):
        await queue.publish_many([1], timeout="x")


async def test_an_unknown_outcome_says_so_and_names_the_message() -> None:
    driver = FakeDriver()
    queue = make_queue(driver)
    driver.answer = raising(BrokerTimeoutError("no answer"))
    (result,) = await queue.publish_many([Envelope(body=1, id="mine")])
    assert isinstance(result, Unknown)
    assert result.id == "mine"
    with pytest.raises(BrokerTimeoutError) as caught:
        await queue.publish(1, id="mine")
    assert (caught.value.outcome, caught.value.message_id) == ("unknown", "mine")
    assert (queue.metrics.unknown, queue.metrics.rejected) == (2, 0)


async def test_publishers_do_not_share_an_error() -> None:
    driver = FakeDriver()
    queue = make_queue(driver)
    shared = BrokerUnavailableError("away", driver="app:fake", queue="tasks")
    shared.__cause__ = OSError("refused")
    driver.answer = raising(shared)
    results = await queue.publish_many([Envelope(body=1, id="a"), Envelope(body=1, id="b")])
    errors = [result.error for result in results if isinstance(result, Rejected)]
    assert [error.message_id for error in errors if isinstance(error, DriverError)] == ["a", "b"]
    assert all(error.__cause__ is shared.__cause__ for error in errors)
    assert shared.message_id == ""


class OddError(DriverError):
    def __init__(self, code: int, *, region: str) -> None:
        super().__init__(f"{code} in {region}")


async def test_an_error_that_cannot_be_copied_is_raised_itself() -> None:
    driver = FakeDriver()
    odd = OddError(5, region="eu")
    driver.answer = raising(odd)
    with pytest.raises(OddError) as caught:
        await make_queue(driver).publish(1)
    assert caught.value is odd


async def test_forward_sends_what_is_there_already() -> None:
    queue = await memory_queue(max_length=1, overflow="reject")
    messages = [Outgoing("1", b"raw", {"x_original_queue": "q"}), Outgoing("2", b"raw", {})]
    results = await queue.forward(messages)
    assert [type(error) for error in results] == [type(None), QueueFullError]
    assert (await only(queue)).headers == {"x_original_queue": "q"}
    assert queue.metrics.published == 1


async def test_looking_into_it() -> None:
    queue = await memory_queue()
    await queue.publish_many([1, 2, 3])
    await queue.publish(4, delay=5)
    assert await queue.info() == {
        "queue": "app:tasks",
        "driver": "app:driver",
        "message_count": 4,
        "ready": 3,
        "in_flight": 0,
        "delayed": 1,
        "consumer_count": 0,
        "oldest_age": 0.0,
    }
    assert [message.body for message in await queue.peek(2, 1)] == [b"2", b"3"]
    assert await queue.purge() == 4
    assert queue.durability == "memory"


async def test_block_waits_for_room_up_to_the_deadline_and_reject_does_not() -> None:
    loop = asyncio.get_running_loop()
    queue = await memory_queue(max_length=1)
    await queue.publish(1)
    with pytest.raises(QueueFullError) as caught:
        await queue.publish(2, timeout="2s")
    assert caught.value.outcome == "rejected"
    assert loop.time() == pytest.approx(2, abs=0.1)
    rejecting = await memory_queue(max_length=1, overflow="reject")
    await rejecting.publish(1)
    with pytest.raises(QueueFullError):
        await rejecting.publish(2)
    assert loop.time() == pytest.approx(2, abs=0.1)
