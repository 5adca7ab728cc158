from __future__ import annotations

import logging
from typing import Any

import pytest

from tasuki.consumers.reach.host_reach import call_context
from tasuki.contracts.state.following import StartedGroup
from tasuki.errors import HandlerError, HandlerNotFoundError
from tasuki.message import Message
from tasuki.testing.context import RecordingContext
from tests.unit.consumers.parts import FakeHost, guard_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


def test_a_call_without_a_delivery(host: FakeHost) -> None:
    context = call_context(host, "app:f")
    assert (context.delivery.function, context.message, context.attempt) == ("app:f", None, 0)
    assert (context.queue, context.delivery.consumer, context.stopping, context.delivery.lease_lost) == (
        "",
        "",
        False,
        False,
    )
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
        context = call_context(host, "other:f", parent)
        assert (context.delivery.function, context.message, context.attempt) == ("other:f", message, 2)
        assert (context.queue, context.delivery.consumer) == ("app:queue", "app:consumer")
        assert context.stopping
        assert context.delivery.lease_lost
        assert context.logger is parent.logger
        getattr(context, settle)()
        assert parent.settled == [settled]


async def test_bare_names_are_of_the_functions_own_namespace(host: FakeHost) -> None:
    context = call_context(host, "shop:f")
    assert await context.publish("tasks", 1, {"a": 1}, delay=5) == "id"
    assert await context.publish("app:tasks", 2) == "id"
    assert await context.call("g", 1, 2) == "result"
    assert await context.queues.info("tasks") == {"queue": "shop:tasks"}
    assert host.calls == [
        ("publish", "shop:tasks", 1, {"a": 1}, {"delay": 5}),
        ("publish", "app:tasks", 2, None, {}),
        ("call", context, "shop:g", (1, 2)),
        ("info", "shop:tasks"),
    ]
    with pytest.raises(HandlerError, match="shop:store"):
        context.project.resource("store")
    assert context.project.env("NAME") == "shop/NAME"


async def test_what_follows_is_named_in_the_namespace_of_the_function(host: FakeHost) -> None:
    context = call_context(host, "shop:f")
    await context.publish("jobs", 1, then=None, on_error=None)
    assert await context.publish("jobs", 1, then="ends") == "id"
    assert await context.group([], then="ends", id="mine") == StartedGroup("g", [])
    options = {"then": "ends", "on_error": None}
    assert host.calls == [
        ("publish", "shop:jobs", 1, None, {}),
        ("chain", None, "shop:jobs", "shop:jobs", 1, None, options),
        ("group", None, "shop:jobs", [], "ends", None, "mine"),
    ]


async def test_values_hold_for_what_is_called_and_below(host: FakeHost) -> None:
    context = call_context(host, "app:f")
    assert context.delivery.values == {}
    await context.call("g", 1, values={"a": 1, "b": 1})
    _, outer, function, args = host.calls.pop()
    assert (function, args, dict(outer.delivery.values)) == ("app:g", (1,), {"a": 1, "b": 1})
    inner = call_context(host, "app:g", outer)
    assert inner.delivery.values == outer.delivery.values
    await inner.call("h", values={"b": 2})
    assert dict(host.calls.pop()[1].delivery.values) == {"a": 1, "b": 2}
    assert (dict(inner.delivery.values), context.delivery.values) == ({"a": 1, "b": 1}, {})


@pytest.mark.parametrize("values", [5, "ab", ["a"], [("a", 1)], {1: 2}])
async def test_values_that_are_none_are_refused(host: FakeHost, values: Any) -> None:
    with pytest.raises(HandlerError, match="values are a mapping") as caught:
        await call_context(host, "app:f").call("g", values=values)
    assert (caught.value.kind, host.calls) == ("Invalid", [])


async def test_a_call_in_another_name(host: FakeHost) -> None:
    context = call_context(host, "app:f")
    await context.call("g", actor={"id": "you"})
    assert host.calls.pop(0) == ("guard", None, {"id": "you"}, None)
    changed = host.calls.pop()[1]
    assert guard_of(changed).actor.id == "you"  # type: ignore[union-attr]
    assert guard_of(call_context(host, "app:g", changed)) is guard_of(changed)
    await context.call("g")
    assert guard_of(host.calls.pop()[1]) is None


def test_a_function_that_is_not_there_is_known_before_the_call(host: FakeHost) -> None:
    context = call_context(host, "app:f")
    context.project.check_call("g")
    with pytest.raises(HandlerNotFoundError, match="'app:missing' is not defined"):
        context.project.check_call("missing")


def test_settings_are_those_of_the_host(host: FakeHost) -> None:
    context = call_context(host, "shop:f")
    context.project.set_env("NAME", "value")
    assert host.calls == [("set_env", "NAME", "value", "shop")]
    assert context.project.env_all() == {"OPEN": "1", "CLOSED": "2"}
