"""The lane of a message: at its publish, and as a dead letter or redrive."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.contracts.driver import Outgoing
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import PublishError
from tasuki.queues.messages.codec import Compression
from tasuki.queues.messages.lanes import LaneRule, parse_lane_key
from tasuki.queues.queue import Envelope, Queue
from tasuki.queues.result import Rejected
from tests.unit.consumers.parts import clock_of_loop, make_queue

pytestmark = pytest.mark.anyio


class Recorder(MemoryDriver):
    """Keeps published messages for the test, and stores none."""

    def __init__(self) -> None:
        super().__init__("app:driver", clock=clock_of_loop())
        self.sent: list[Outgoing] = []

    async def publish(self, queue: str, batch: Any) -> Any:
        self.sent += batch
        return ()


def queue_by(key: str, *, is_line: bool = False, **options: Any) -> tuple[Queue, Recorder]:
    driver = Recorder()
    rule = LaneRule(parse_lane_key(key), is_line=is_line)
    return make_queue(driver, clock=clock_of_loop(), lanes=rule, **options), driver


async def lanes_of(key: str, *items: Any) -> list[str]:
    queue, driver = queue_by(key)
    await queue.publish_many(items)
    return [message.lane for message in driver.sent]


async def test_a_header_is_the_lane() -> None:
    items = [Envelope(body=1, headers={"tenant": value}) for value in ("a", 7, True, "")]
    assert await lanes_of("header.tenant", *items, Envelope(body=1), 2, {"tenant": "b"}) == [
        "a",
        "7",
        "true",
        "",
        "",
        "",
        "",
    ]


async def test_a_value_of_the_body_is_the_lane() -> None:
    items = [{"user": {"id": 7}}, Envelope(body={"user": {"id": "x"}}), {"user": None}, [1], 3, None]
    assert await lanes_of("body.user.id", *items) == ["7", "x", "", "", "", ""]


async def test_the_order_key_is_the_lane() -> None:
    items = [Envelope(body=1, key="k"), Envelope(body=1, headers={"partition_key": "h"}), 1]
    assert await lanes_of("key", *items) == ["k", "h", ""]


@pytest.mark.parametrize(
    ("key", "body", "headers", "problem"),
    [
        ("body.user", {"user": {"id": 1}}, None, "body.user is dict, which is no key"),
        ("header.x", 1, {"x": "a" * 256}, "the lane header.x must be text of 1 to 255 printable characters"),
        ("header.x", 1, {"x": "a\nb"}, "the lane header.x must be text of 1 to 255 printable characters"),
        ("body.x", b"{}", None, "the queue has lanes by body.x, which cannot be read from a body of bytes: let it"),
    ],
)
async def test_what_cannot_be_a_lane_is_refused(key: str, body: Any, headers: Any, problem: str) -> None:
    queue, driver = queue_by(key)
    with pytest.raises(PublishError, match=r"lane|key"):
        await queue.publish(body, headers)
    [told] = await queue.publish_many([Envelope(body=body, headers=headers)])
    assert isinstance(told, Rejected)
    assert str(told.error).startswith(problem)
    assert not driver.sent


async def forwarded(queue: Queue, driver: Recorder, *messages: Outgoing) -> list[str]:
    await queue.forward(messages)
    return [message.lane for message in driver.sent]


async def test_messages_that_are_sent_on_find_their_lane() -> None:
    told = [Outgoing("1", b'{"user": 7}', {"tenant": "a"}), Outgoing("2", b"[]", {"partition_key": "k"}, key="k")]
    assert await forwarded(*queue_by("header.tenant"), *told) == ["a", ""]
    assert await forwarded(*queue_by("body.user"), *told) == ["7", ""]
    dead = Outgoing("3", b"1", {"partition_key": "k"})
    assert await forwarded(*queue_by("key"), *told, dead) == ["", "k", "k"]
    # In an order per key the lane is what the driver takes for the key.
    assert await forwarded(*queue_by("key", is_line=True), *told, dead) == ["", "k", ""]


async def test_a_body_is_decoded_by_its_own_content_type() -> None:
    gzip = Compression("gzip", 1)
    packed = gzip.compressed(b'{"user": "zip"}' * 1 + b" " * 200)
    assert packed is not None
    told = [Outgoing("1", packed, {"content_type": "json/plain+gzip"}), Outgoing("2", b"\x81\xa4user\x07", {})]
    told[1].headers = {"content_type": "application/msgpack"}
    assert await forwarded(*queue_by("body.user"), *told) == ["zip", "7"]


async def test_nothing_is_kept_back_for_its_lane() -> None:
    unfit = [
        Outgoing("1", b"not JSON", {}),
        Outgoing("2", b'{"user": [1]}', {}),
        Outgoing("3", b"x", {"content_type": "application/octet-stream"}),
        Outgoing("4", b'{"user": "' + b"a" * 300 + b'"}', {}),
    ]
    assert await forwarded(*queue_by("body.user"), *unfit) == [""] * 4


async def test_a_queue_without_lanes_decodes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Recorder()
    queue = make_queue(driver, clock=clock_of_loop())
    monkeypatch.setattr(queue, "decode", lambda message: pytest.fail("decoded"))
    assert await forwarded(queue, driver, Outgoing("1", b"1", {"tenant": "a"})) == [""]
