"""The context of a script's top level."""

from __future__ import annotations

import pytest

from tasuki.errors import HandlerError
from tasuki.handlers.lua.handler import LoadingContext


def test_there_is_no_message() -> None:
    context = LoadingContext("app:f")
    assert context.delivery.function == "app:f"
    assert context.message is None
    assert (context.attempt, context.queue, context.delivery.consumer) == (0, "", "")
    assert not context.stopping
    assert not context.delivery.lease_lost
    assert context.logger.name == "tasuki.handlers.lua"


@pytest.mark.anyio
async def test_what_needs_a_handler_is_refused() -> None:
    context = LoadingContext("app:f")
    settling = (context.ack, context.nack, context.reject, lambda: context.snooze(1))
    for call in (*settling, lambda: context.project.resource("a:b"), lambda: context.project.env("A")):
        with pytest.raises(HandlerError, match="cannot be used while the script loads"):
            call()
    for waiting in (context.publish("a:b", 1), context.call("a:f"), context.queues.info("a:b")):
        with pytest.raises(HandlerError, match="cannot be used while the script loads"):
            await waiting
