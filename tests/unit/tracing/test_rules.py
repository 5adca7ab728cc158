from __future__ import annotations

import asyncio
import os
import random

import pytest
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    TraceIdRatioBased,
)

from tasuki.contracts.handler import Interrupted, Reject, Retry, Snooze
from tasuki.contracts.state.jobs import Suspended
from tasuki.errors import QueueFullError
from tasuki.message import Message
from tasuki.observe.trace import is_unsampled, traceparent_of
from tasuki.tracing.rules import (
    SpanEnding,
    ending_of,
    error_type,
    is_chosen,
    is_interruption,
    obeys_the_flag,
    server_of,
    target_of,
    unrecorded,
)


@pytest.mark.parametrize(
    ("address", "server"),
    [
        ("amqp://guest:secret@rabbit/vhost", ("rabbit", 5672)),
        ("amqps://rabbit:5999", ("rabbit", 5999)),
        ("redis://[::1]:6400/3", ("::1", 6400)),
        ("postgresql://user@db.example/app", ("db.example", 5432)),
        ("nats://a:4222", ("a", 4222)),
        ("localhost:6379", ("localhost", 6379)),
        ("https://sqs.eu.example", ("sqs.eu.example", 443)),
        ("unix:///run/redis.sock", None),
        ("redis://host:nonsense", None),
        ("", None),
    ],
)
def test_a_server_is_named_without_its_password(address: str, server: tuple[str, int | None] | None) -> None:
    assert server_of(address) == server


def test_a_system_has_its_name_of_the_conventions() -> None:
    names = {kind: target_of("app:q", kind, None).attributes["messaging.system"] for kind in ("amqp", "sqs", "nats")}

    assert names == {"amqp": "rabbitmq", "sqs": "aws_sqs", "nats": "nats"}


def test_a_server_without_a_port_is_named_all_the_same() -> None:
    assert server_of("queue+local://host") == ("host", None)
    attributes = target_of("app:q", "other", ("host", None)).attributes
    assert attributes == {"messaging.system": "other", "messaging.destination.name": "app:q", "server.address": "host"}


def test_a_temporary_queue_has_one_name_in_spans() -> None:
    target = target_of("app:q", "redis", ("host", 6379)).temporary("reply:0123")

    assert target.name == "reply"
    assert target.attributes == {
        "messaging.system": "redis",
        "messaging.destination.name": "reply:0123",
        "messaging.destination.temporary": True,
        "server.address": "host",
        "server.port": 6379,
    }


def test_one_message_is_described_and_several_are_counted() -> None:
    target = target_of("app:q", "memory", None)
    one, other = Message("1" * 300, b"abc", {"correlation_id": 7}), Message("2", b"", {})

    said = target.of_messages("send", [one], with_size=True)
    assert said["messaging.message.id"] == "1" * 255
    assert said["messaging.message.conversation_id"] == "7"
    assert said["messaging.message.body.size"] == 3
    assert "messaging.message.body.size" not in target.of_messages("send", [one], with_size=False)
    assert target.of_messages("process", [one, other], with_size=True) == {
        "messaging.system": "memory",
        "messaging.destination.name": "app:q",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.batch.message_count": 2,
    }


def test_an_error_is_named_by_its_class() -> None:
    assert error_type(ValueError("secret")) == "ValueError"
    assert error_type(QueueFullError("", driver="d", queue="q")) == "tasuki.errors.QueueFullError"


@pytest.mark.parametrize(
    ("result", "error", "ending"),
    [
        (None, None, SpanEnding("returned", False)),
        ({"ok": False}, None, SpanEnding("returned", False)),
        (False, None, SpanEnding("false", True)),
        (None, Retry("later", after=5), SpanEnding("retry", False)),
        (None, Reject("bad"), SpanEnding("reject", True)),
        (None, Snooze(5), SpanEnding("snooze", False)),
        (None, Suspended(5), SpanEnding("sleep", False)),
        (None, Interrupted(), SpanEnding("interrupted", True)),
        (None, asyncio.CancelledError(), SpanEnding("interrupted", True)),
        (None, ValueError(), SpanEnding("error", True)),
    ],
)
def test_how_a_handler_has_ended(result: object, error: BaseException | None, ending: SpanEnding) -> None:
    assert ending_of(result, error) == ending


def test_an_error_of_a_handler_is_no_interruption() -> None:
    assert is_interruption(Interrupted())
    assert not is_interruption(TimeoutError())


def test_a_coin_chooses_a_share_of_the_traces() -> None:
    random.seed(7)

    assert all(is_chosen(1.0) for _ in range(1000))
    assert not any(is_chosen(0.0) for _ in range(1000))
    assert 50 < sum(is_chosen(0.1) for _ in range(1000)) < 150


def test_a_trace_that_is_not_recorded_has_an_id_of_its_own() -> None:
    found = [unrecorded() for _ in range(100)]

    assert len(set(found)) == 100
    assert all(is_unsampled(each) and traceparent_of(each) for each in found)


@pytest.mark.parametrize(
    ("sampler", "obeys"),
    [
        (DEFAULT_ON, True),
        (DEFAULT_OFF, True),
        (ParentBasedTraceIdRatio(0.1), True),
        (ALWAYS_OFF, True),
        (ALWAYS_ON, False),
        (TraceIdRatioBased(0.1), False),
        (ParentBased(ALWAYS_ON, remote_parent_not_sampled=ALWAYS_ON), False),
        (ParentBased(ALWAYS_ON, local_parent_not_sampled=ALWAYS_ON), False),
    ],
)
def test_whether_a_sampler_records_what_its_parent_did_not(sampler: Sampler, obeys: bool) -> None:
    assert obeys_the_flag(sampler.get_description()) is obeys


def test_a_forked_child_has_ids_of_its_own() -> None:
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, unrecorded().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs, mine = os.read(reader, 100).decode(), unrecorded()
    os.close(reader)
    os.close(writer)
    assert traceparent_of(theirs) is not None
    assert theirs[:24] != mine[:24]
