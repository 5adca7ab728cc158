from __future__ import annotations

import pytest

from tasuki.errors import QueueFullError
from tasuki.message import Message
from tasuki.tracing.names import error_type, server_of, target_of


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
