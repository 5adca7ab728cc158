from __future__ import annotations

import logging

import pytest

from tasuki.consumers.call import CallContext, HostContext
from tasuki.errors import HandlerError
from tasuki.message import Message
from tasuki.testing.context import RecordingContext
from tests.unit.consumers.parts import FakeHost

pytestmark = pytest.mark.anyio


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


def test_a_call_without_a_delivery(host: FakeHost) -> None:
    context = CallContext(host, "app:f")
    assert (context.function, context.message, context.attempt) == ("app:f", None, 0)
    assert (context.queue, context.consumer, context.stopping, context.lease_lost) == ("", "", False, False)
    assert isinstance(context.logger, logging.Logger)
    assert context.logger.name == "tasuki.function.app:f"
    for settle in (context.ack, context.nack, context.reject):
        with pytest.raises(HandlerError, match="no message to settle") as caught:
            settle()
        assert caught.value.kind == "Invalid"


def test_a_call_within_a_delivery_acts_on_that(host: FakeHost) -> None:
    message = Message("1", b"x", {})
    for settle, settled in (("ack", ("ack",)), ("nack", ("nack", None)), ("reject", ("reject", ""))):
        parent = RecordingContext(message, attempt=2)
        parent.is_stopping = parent.is_lease_lost = True
        context = CallContext(host, "other:f", parent)
        assert (context.function, context.message, context.attempt) == ("other:f", message, 2)
        assert (context.queue, context.consumer) == ("app:queue", "app:consumer")
        assert context.stopping
        assert context.lease_lost
        assert context.logger is parent.logger
        getattr(context, settle)()
        assert parent.settled == [settled]


async def test_bare_names_are_of_the_functions_own_namespace(host: FakeHost) -> None:
    context = CallContext(host, "shop:f")
    assert await context.publish("tasks", 1, {"a": 1}, delay=5) == "id"
    assert await context.publish("app:tasks", 2) == "id"
    assert await context.call("g", 1, 2) == "result"
    assert await context.info("tasks") == {"queue": "shop:tasks"}
    assert host.calls == [
        ("publish", "shop:tasks", 1, {"a": 1}, {"delay": 5}),
        ("publish", "app:tasks", 2, None, {}),
        ("call", context, "shop:g", (1, 2)),
        ("info", "shop:tasks"),
    ]
    with pytest.raises(HandlerError, match="shop:store"):
        context.resource("store")
    assert context.env("NAME") == "shop/NAME"


def test_a_context_must_say_what_its_host_is() -> None:
    with pytest.raises(NotImplementedError):
        _ = HostContext._host.fget(None)  # type: ignore[attr-defined]
