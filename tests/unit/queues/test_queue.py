from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tasuki.contracts.driver import Outgoing
from tasuki.errors import (
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    PolicyDeniedError,
    PublishError,
    QueueFullError,
)
from tasuki.queues.queue import Envelope
from tasuki.queues.result import Confirmed, Rejected, Unknown
from tasuki.security.guard import Guard
from tasuki.testing.clock import EPOCH
from tests.unit.consumers.parts import make_queue
from tests.unit.queues.fake import FakeDriver, memory_queue, only, raising

pytestmark = pytest.mark.anyio


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
        "x_due": EPOCH + 5,
        "priority": 7,
        "partition_key": "k",
    }
    assert (await queue.depth()).delayed == 1


async def test_what_the_publisher_changes_later_changes_nothing() -> None:
    queue = await memory_queue()
    body, headers = {"a": [1]}, {"h": 1}
    await queue.publish(body, headers)
    body["a"].append(2)
    headers["h"] = 2
    message = await only(queue)
    assert (message.body, message.headers["h"]) == (b'{"a":[1]}', 1)


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
        await queue.publish_many([1], publish_timeout="x")


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


async def test_a_guarded_view_asks_for_each_right_and_counts_with_its_origin() -> None:
    queue = await memory_queue()
    nobody = queue.guarded_by(Guard(strict=True))
    work: list[Callable[[], Awaitable[Any]]] = [
        lambda: nobody.publish(1),
        lambda: nobody.publish_many([1]),
        nobody.depth,
        nobody.info,
        nobody.peek,
        nobody.purge,
        lambda: nobody.remove(["x"]),
    ]
    for step in work:
        with pytest.raises(PolicyDeniedError):
            await step()
    counted = make_queue(FakeDriver())  # a driver that does not count consumers
    allowed = counted.guarded_by(Guard())
    await allowed.publish(1)
    counted.consumer_count = 2
    assert (await allowed.info())["consumer_count"] == 2
    assert counted.metrics.published == 1
    assert counted.guard is None


@pytest.mark.parametrize(
    "result",
    [Confirmed("1", "power"), Rejected("1", QueueFullError("full"), True), Unknown("1", QueueFullError("full"))],
)
def test_results_name_the_message_and_cannot_be_changed(result: Confirmed | Rejected | Unknown) -> None:
    assert result.id == "1"
    with pytest.raises(AttributeError):
        result.id = "2"  # type: ignore[misc]
