from __future__ import annotations

from typing import Any

import pytest

from tasuki.message import Message
from tasuki.queues.dead_letter import dead_letter, redriven
from tasuki.queues.messages.signature import Signer, Signing
from tests.unit.queues.fake import memory_queue

OLD, NEW = {"old": b"o" * 16}, {"new": b"n" * 16}


def signer(
    keys: dict[str, bytes] = OLD, queue: str = "app:q", required: bool = True, codec: str = "json/plain"
) -> Signer:
    return Signer(queue, codec, Signing(keys, required))


def signed(keys: dict[str, bytes] = OLD, **headers: Any) -> Message:
    message = Message("1", b"body", headers)
    signer(keys).sign([message])
    return message


def test_what_it_looks_like_does_not_change_from_release_to_release() -> None:
    assert signed(priority=5, content_type="json").headers["x_signature"] == (
        "old:860efa3b5c05e9e4eee5ac3b6f4fce909b68b53b20f5d7ac11590887b6bdef2a"
    )


def test_signed_is_good() -> None:
    assert signer().verify(signed(reply_to="app:r")) is None


@pytest.mark.parametrize(
    "change",
    [
        {"id": "2"},
        {"body": b"bodz"},
        *(
            {"headers": {name: "x"}}
            for name in ("content_type", "correlation_id", "reply_to", "partition_key", "message_type")
        ),
        {"headers": {"priority": 1.0}},
        {"headers": {"priority": True}},
        {"headers": {"priority": "1"}},
        {"headers": {"priority": 10**5000}},
        {"headers": {"priority": None}},
        {"headers": {"correlation_id": "\udc80"}},
        {"headers": {"x_group": "app:q 0 another"}},
        {"headers": {"x_signature": "old:é"}},
        {"headers": {"x_signature": "old:\udc80"}},
        {"headers": {"x_signature": "old"}},
    ],
)
def test_what_it_covers_must_not_change(change: dict[str, Any]) -> None:
    message = signed(priority=1)
    headers = message.headers | change.pop("headers", {})
    forged = Message(**{"id": "1", "body": b"body", "headers": headers, **change})
    assert "signature is wrong" in str(signer().verify(forged))


def test_the_group_of_a_message_is_covered_also_where_it_is_taken_away() -> None:
    message = signed(x_group="app:q 0 g")
    assert signer().verify(message) is None
    assert signer().verify(redriven(dead_letter(
        message, queue="app:q", reason="rejected", error="", attempts=1, now=0.0, content_type="json/plain"
    ))) is None  # fmt: skip
    without = {name: value for name, value in message.headers.items() if name != "x_group"}
    for forged in ({**message.headers, "x_group": "app:q 1 g"}, without):
        assert "signature is wrong" in str(signer().verify(Message("1", b"body", forged)))


def test_the_queue_and_its_codec_are_covered() -> None:
    assert "another queue" in str(signer(queue="app:other").verify(signed()))
    assert "is wrong" in str(signer(codec="application/msgpack").verify(signed()))


def test_other_headers_may_be_added_on_the_way() -> None:
    message = signed(n=1)
    message.headers |= {"traceparent": "00-…", "timestamp": 5, "x_expires_at": 7.0}
    assert signer().verify(message) is None


def test_without_a_signature() -> None:
    assert "requires one" in str(signer().verify(Message("1", b"", {})))
    assert signer(required=False).verify(Message("1", b"", {})) is None
    assert "does not know" in str(signer(required=False).verify(Message("1", b"", {"x_signature": 7})))


def test_keys_change_without_a_message_lost() -> None:
    step_1, step_2 = signer({**OLD, **NEW}), signer({**NEW, **OLD})
    assert step_1.verify(signed(OLD)) is step_1.verify(signed(NEW)) is step_2.verify(signed(OLD)) is None
    assert "does not know" in str(signer(NEW).verify(signed(OLD)))


def test_secrets_are_not_shown() -> None:
    assert "oooo" not in repr(Signing(OLD)) + repr(signer())


def dead(message: Message) -> Message:
    return dead_letter(
        message, queue="app:q", reason="rejected", error="", attempts=1, now=1.0, content_type="json/plain"
    )


def test_a_dead_letter_that_is_sent_back_is_still_good() -> None:
    message = signed(x_expires_at=5.0, partition_key="k")
    assert signer().verify(redriven(dead(message))) is None


def test_a_forged_message_that_is_sent_back_is_still_forged() -> None:
    assert "requires one" in str(signer().verify(redriven(dead(Message("1", b"", {})))))


@pytest.mark.anyio
async def test_a_queue_signs_what_is_published_and_not_what_is_forwarded() -> None:
    queue = await memory_queue(signing=Signing(OLD))
    await queue.publish("a")
    await queue.publish_many(["b"])
    await queue.forward([redriven(Message("1", b'"c"', {}))])
    assert queue.signer is not None
    assert [queue.signer.verify(message) is None for message in await queue.peek()] == [True, True, False]
