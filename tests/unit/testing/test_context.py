"""RecordingContext: what tests of handlers are given."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError, HandlerNotFoundError
from tasuki.message import Message
from tasuki.testing import memory_store
from tasuki.testing.context import Logged, Published, RecordingContext

pytestmark = pytest.mark.anyio


def test_a_delivery() -> None:
    message = Message("m", b"", {})
    context = RecordingContext(message, attempt=2, function="a:f")
    assert isinstance(context, Context)
    assert (context.delivery.function, context.message, context.attempt) == ("a:f", message, 2)
    assert (context.queue, context.delivery.consumer) == ("app:queue", "app:consumer")
    assert not context.stopping
    assert not context.delivery.lease_lost
    context.is_stopping = context.is_lease_lost = True
    assert context.stopping
    assert context.delivery.lease_lost


def test_outside_a_delivery() -> None:
    context = RecordingContext()
    assert (context.message, context.attempt, context.queue, context.delivery.consumer) == (None, 0, "", "")
    with pytest.raises(HandlerError, match="no delivery"):
        context.ack()


@pytest.mark.parametrize(
    ("verb", "args", "recorded"),
    [("ack", (), ("ack",)), ("nack", (5,), ("nack", 5)), ("reject", ("bad",), ("reject", "bad"))],
)
def test_the_first_settlement_wins(verb: str, args: tuple[object, ...], recorded: tuple[object, ...]) -> None:
    context = RecordingContext(Message("m", b"", {}))
    getattr(context, verb)(*args)
    with pytest.raises(HandlerError, match="already settled"):
        context.ack()
    assert context.settled == [recorded]


async def test_what_it_records_and_answers() -> None:
    context = RecordingContext()
    context.logger.warning("hello %s", "you", extra={"task": 1})
    assert context.logged == [Logged("warning", "hello you", {"task": 1})]
    assert await context.publish("a:q", {"x": 1}, {"h": 1}, id="mine") == "mine"
    assert len(await context.publish("a:q", 2)) == 36
    assert context.published == [Published("a:q", {"x": 1}, {"h": 1}, {"id": "mine"}), Published("a:q", 2, None, {})]
    context.publish_error = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        await context.publish("a:q", 3)

    async def double(n: int) -> int:
        return n * 2

    context.functions.update({"a:plain": lambda n: n + 1, "a:async": double})
    assert (await context.call("a:plain", 1), await context.call("a:async", 2)) == (2, 4)
    with pytest.raises(HandlerNotFoundError):
        await context.call("a:none")
    context.known_queues["a:q"] = {"ready": 1}
    assert await context.queues.info("a:q") == {"ready": 1}
    with pytest.raises(HandlerError, match="queue not found"):
        await context.queues.info("a:none")
    context.resources["a:r"] = 5
    context.variables["V"] = "x"
    assert (context.project.resource("a:r"), context.project.env("V"), context.project.env("W")) == (5, "x", None)
    with pytest.raises(HandlerError, match="not defined"):
        context.project.resource("a:none")


async def test_a_store_for_async_handlers() -> None:
    context = RecordingContext()
    context.resources.update({"counts": memory_store("counts"), "thing": object()})
    await context.store("counts").set("n", 1)
    assert await context.store("counts").get("n") == 1
    with pytest.raises(HandlerError, match="resource is not a store: thing"):
        context.store("thing")
    with pytest.raises(HandlerError, match="resource 'none' is not defined"):
        context.store("none")


def test_a_store_for_plain_handlers() -> None:
    class Slow:
        set = has = delete = entry = list = put = info = staticmethod(lambda *args, **options: True)

        async def get(self, key: str) -> Any:
            await asyncio.sleep(0)

    context = RecordingContext()
    context.resources.update({"counts": memory_store("counts"), "slow": Slow()})
    context.sync.store("counts").set("n", 1)
    assert context.sync.store("counts").get("n") == 1
    with pytest.raises(HandlerError, match="needs a store that never waits: memory_store"):
        context.sync.store("slow").get("n")
