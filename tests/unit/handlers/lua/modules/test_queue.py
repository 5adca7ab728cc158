"""queue: publishing and the message under treatment."""

# ruff: noqa: E501 - a case is a line, and reads best as one

from __future__ import annotations

from typing import Any

import pytest

from tasuki.errors import (
    BrokerUnavailableError,
    PolicyDeniedError,
    PublishError,
    QueueFullError,
    QueueNotFoundError,
)
from tasuki.testing.context import Published, RecordingContext
from tests.unit.handlers.lua.support import complaint, delivery, run

pytestmark = pytest.mark.anyio

FAILED = "local ok, err = CALL return {ok == nil, err:kind(), err:message(), err:retryable(), err:details()}"


async def failing(call: str, context: RecordingContext | None = None) -> Any:
    return await run(FAILED.replace("CALL", call), context=context)


@pytest.mark.parametrize(
    ("arguments", "published"),
    [
        ("'a:b', {id = 1}", Published("a:b", {"id": 1}, None, {})),
        ("'a:b', nil", Published("a:b", None, None, {})),
        ("'a:b', ''", Published("a:b", "", None, {})),
        ("'a:b', false", Published("a:b", False, None, {})),
        ("'a:b', 0", Published("a:b", 0, None, {})),
        ("7, 1", Published("7", 1, None, {})),
        ("'a:b', {1, 2.0, {}, f = nil}", Published("a:b", [1, 2, []], None, {})),
        ("'a:b', {n = 0/0, h = math.huge, f = 1.5, e = errors.new('x'), p = print}", Published("a:b", {"n": None, "h": None, "f": 1.5, "e": "x", "p": None}, None, {})),
        ("'a:b', '\\255'", Published("a:b", b"\xff", None, {})),
        ("'a:b', table.freeze({1})", Published("a:b", [1], None, {})),
        ("'a:b', 1, {k = 'v', n = 1, b = true, f = 1.5, t = {}, [1] = 2}", Published("a:b", 1, {"k": "v", "n": 1, "b": True, "f": 1.5, "t": "<nil>"}, {})),
        ("'a:b', 1, 'no table'", Published("a:b", 1, None, {})),
        ("'a:b', 1, {}", Published("a:b", 1, None, {})),
        ("'a:b', 1, nil, {delay = '5s', ttl = 60, priority = 9, key = 'k', id = 'x', publish_timeout = 1}", Published("a:b", 1, None, {"delay": "5s", "ttl": 60, "priority": 9, "key": "k", "id": "x", "publish_timeout": 1})),
        ("'a:b', 1, {h = 1}, {}", Published("a:b", 1, {"h": 1}, {})),
    ],
)  # fmt: skip
async def test_publish(arguments: str, published: Published) -> None:
    context = delivery()
    code = f"local ok, err = queue.publish({arguments}) return {{ok, err == nil}}"
    assert await run(code, context=context) == [True, True]
    assert context.published == [published]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "queue ID required"),
        ("''", "queue ID required"),
        ("'a:b'", "message data required"),
        ("'a:b', {}", "message data cannot be empty"),
        ("'a:b', table.freeze({})", "message data cannot be empty"),
        ("'a:b', 1, nil, 5", "options must be a table"),
        (
            "'a:b', 1, nil, {dely = 5}",
            "unknown option 'dely': options are delay, ttl, priority, key, id, unique, unique_for, on_conflict, unique_max, handler_timeout, retries and publish_timeout",
        ),
        ("'a:b', 1, nil, {delay = {}}", "option 'delay' must be a string or a number"),
    ],
)
async def test_publish_checks_in_order(arguments: str, message: str) -> None:
    assert await failing(f"queue.publish({arguments})") == [True, "Invalid", message, False]


async def test_publish_refuses_what_json_cannot_carry() -> None:
    found = await failing("queue.publish('a:b', {1, x = 2})")
    assert found[:2] == [True, "Internal"]
    assert found[2].endswith("table has both numeric and non-numeric keys")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (QueueNotFoundError("q is not declared"), [True, "Internal", "queue not found", False]),
        (QueueFullError("q is full"), [True, "Internal", "queue is full", True, {"outcome": "rejected", "reason": "QueueFullError"}]),
        (BrokerUnavailableError("gone"), [True, "Internal", "gone", True, {"outcome": "rejected", "reason": "BrokerUnavailableError"}]),
        (PolicyDeniedError("not allowed to publish to queue: a:b"), [True, "Invalid", "not allowed to publish to queue: a:b", False, {"reason": "permission_denied"}]),
        (PublishError("bad header"), [True, "Invalid", "bad header", False]),
        (ValueError("odd"), [True, "Internal", "ValueError: odd", False]),
    ],
)  # fmt: skip
async def test_publish_tells_why_it_failed(error: Exception, expected: list[Any]) -> None:
    context = delivery()
    context.publish_error = error
    assert await failing("queue.publish('a:b', 1)", context) == expected


async def test_message() -> None:
    code = """
    local m, err = queue.message()
    return {m:id(), m:header('trace'), m:header('none') == nil, m:headers(), m:attempt(), m:queue(), m:body(),
            tostring(m), type(m), err == nil, m:headers() ~= m:headers()}
    """
    assert await run(code, {"a": 1}, context=delivery(attempt=3)) == [
        "m-1", "t-1", True, {"trace": "t-1", "n": 2}, 3, "app:queue", {"a": 1}, "queue.Message{id=m-1}", "userdata", True, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "settled"),
    [
        ("ack()", ("ack",)),
        ("nack()", ("nack", None)),
        ("nack(5)", ("nack", 5)),
        ("nack('1m')", ("nack", "1m")),
        ("reject()", ("reject", "")),
        ("reject('bad')", ("reject", "bad")),
    ],
)
async def test_settling(call: str, settled: tuple[Any, ...]) -> None:
    context = delivery()
    assert await run(f"return queue.message():{call}", context=context) is True
    assert context.settled == [settled]


async def test_other_failures_of_a_settlement_pass_through() -> None:
    from tasuki.errors import HandlerError

    class Broken(RecordingContext):
        def ack(self) -> None:
            raise HandlerError("broker gone", kind="Internal", retryable=False)

    context = Broken(delivery().message)
    assert await failing("queue.message():ack()", context) == [True, "Internal", "broker gone", False]


async def test_released_messages() -> None:
    from tests.unit.handlers.lua.support import handler

    text = """
    local kept
    return function(first)
        if first then kept = queue.message() return end
        local out = {}
        for _, name in ipairs({"id", "header", "headers", "body", "attempt", "queue", "ack", "nack", "reject"}) do
            local v, e = kept[name](kept)
            out[#out + 1] = v == nil and e:message() == "queue.Message released"
        end
        return out
    end
    """
    made = handler(text)
    await made.handle(True, delivery())
    assert await made.call([False], delivery()) == [True] * 9


async def test_info_and_stopping() -> None:
    context = delivery()
    context.known_queues["a:b"] = {"message_count": 3, "ready": 2}
    assert await run("return queue.info('a:b')", context=context) == {"message_count": 3, "ready": 2}
    assert await failing("queue.info('a:x')") == [True, "Internal", "queue not found", False]
    assert await failing("queue.info()") == [True, "Invalid", "queue ID required", False]
    assert await failing("queue.info('')") == [True, "Invalid", "queue ID required", False]
    assert await run("return queue.stopping()") is False
    context.is_stopping = True
    assert await run("return queue.stopping()", context=context) is True


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("queue.publish({}, 1)", "bad argument #1 to publish (string expected, got table)"),
        ("queue.info({})", "bad argument #1 to info (string expected, got table)"),
        ("queue.message():header({})", "bad argument #1 to header (string expected, got table)"),
        ("queue.message():nack({})", "bad argument #1 to nack (number or string expected, got table)"),
        ("queue.message():reject({})", "bad argument #1 to reject (string expected, got table)"),
        ("queue.message().id('no')", "queue.Message expected"),
        ("queue.message().ack({})", "queue.Message expected"),
    ],
)
async def test_wrong_arguments_raise(code: str, message: str) -> None:
    assert await complaint(code) == message


async def test_cancel_and_progress() -> None:
    context = delivery()
    assert await run("return {queue.cancelled(), (queue.cancel('jobs', 'a'))}", context=context) == [False, "waiting"]
    assert context.cancelled_ids == [("jobs", "a")]
    context.is_cancelled = True
    assert await run("return queue.cancelled()", context=context) is True
    assert await run("return {queue.progress(1, 2, 'half')}", context=context) == [True]
    assert await run("return {queue.progress(2)}", context=context) == [True]
    assert context.progressed == [(1, 2, "half"), (2, None, "")]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("queue.cancel()", "queue ID required"),
        ("queue.cancel('jobs')", "message ID required"),
        ("queue.progress('1')", "progress takes a number, and the total as a number or nil"),
        ("queue.progress(1, 'x')", "progress takes a number, and the total as a number or nil"),
    ],
)
async def test_mistakes_in_cancel_and_progress(call: str, message: str) -> None:
    assert (await failing(call))[1:3] == ["Invalid", message]
