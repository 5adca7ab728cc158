"""Scripts that take a batch: what they get, and what their results say."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.errors import HandlerError
from tests.unit.handlers.lua.support import delivery, handler, run

pytestmark = pytest.mark.anyio


async def test_the_bodies_are_a_list_and_a_list_of_results_is_converted() -> None:
    made = handler("""
        return function(bodies)
          assert(#bodies == 3 and bodies[2] == nil and bodies[3].n == 3)
          return { true, false, errors.new({ message = "no", kind = errors.NOT_FOUND, retryable = true }) }
        end""")
    one, two, three = await made.handle_batch([1, None, {"n": 3}], delivery())
    assert (one, two, type(three)) == (True, False, HandlerError)
    assert (three.message, three.kind, three.retryable) == ("no", "NotFound", True)


@pytest.mark.parametrize(
    ("code", "result"), [("", None), ("return nil", None), ("return false", False), ("return 1", 1)]
)
async def test_a_result_of_all(code: str, result: Any) -> None:
    assert await handler(f"return function(bodies) {code} end").handle_batch([1, 2], delivery()) is result


async def test_a_second_value_fails_all() -> None:
    with pytest.raises(HandlerError, match="away"):
        await handler('return function(bodies) return nil, "away" end').handle_batch([1, 2], delivery())


async def test_messages_outside_a_batch_are_the_only_one() -> None:
    context = delivery(attempt=2)
    code = """
        local messages = assert(require("queue").messages())
        local msg = messages[1]
        assert(msg:ack())
        return { #messages, msg:id(), msg:body(), msg:attempt() }"""
    found = await run(code, "the body", context=context)
    assert found == [1, "m-1", "the body", 2]
    assert context.settled == [("ack",)]
