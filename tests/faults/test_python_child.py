"""Python functions in their own processes: a crash, a leak, an endless loop costs its own message only."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tasuki import App, Reject, Retry
from tasuki.app.lifecycle.running import wait_until_empty
from tasuki.errors import (
    HandlerError,
    HandlerNotFoundError,
    HandlerTimeoutError,
    InvalidBodyError,
    PolicyDeniedError,
    QueueFullError,
)
from tasuki.handlers.isolated import IsolatedPythonHandler, PythonTarget
from tasuki.handlers.process.failure import PlainFailure, exact_failure_of
from tasuki.handlers.process.protocol import decode, encode
from tasuki.kinds.stores import memory_store
from tasuki.message import LAST_ERROR
from tasuki.queues.messages.codec import BytesCodec, JsonCodec
from tasuki.testing.context import RecordingContext
from tests.unit.handlers.lua.support import delivery

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

Make = Callable[..., IsolatedPythonHandler]
FAULTY = Path(__file__).with_name("faulty.py")
SECONDS = 120.0
"""A busy machine may take half a minute to start a Python."""


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes handlers that are stopped in the end."""
    async with AsyncExitStack() as stack:

        def made(method: str, *, processes: int = 1, **options: Any) -> IsolatedPythonHandler:
            time = options.pop("time", None)
            target = PythonTarget("app:f", source=str(FAULTY), method=method, **options)
            handler = IsolatedPythonHandler(target, time=time, processes=processes)
            stack.push_async_callback(handler.stop)
            return handler

        yield made


async def call(handler: IsolatedPythonHandler, *args: Any, context: RecordingContext | None = None) -> Any:
    return await asyncio.wait_for(handler.call(args, context or delivery()), SECONDS)


# What works as in the worker itself -----------------------------------------------------------------------------------


async def test_bodies_are_decoded_here_and_typed_there(make: Make) -> None:
    handler = make("typed")
    with pytest.raises(HandlerError, match="not started"):
        handler.decoder(JsonCodec())
    await handler.start()
    body = handler.decoder(JsonCodec())(b'{"number": 5}')
    assert body == {"number": 5}
    assert await handler.handle(body, delivery()) is None
    assert await call(handler, {"number": 5}) == ["Order", 5, "m-1", "t-1", 1]
    with pytest.raises(InvalidBodyError, match="number"):
        await handler.handle({"number": "five"}, delivery())


async def test_a_function_without_body_parameter_takes_any_bytes(make: Make) -> None:
    handler = make("without_body")
    await handler.start()
    assert handler.decoder(BytesCodec())(b"\xff") is None
    assert await handler.handle(None, delivery()) is None


async def test_results(make: Make) -> None:
    handler = make("answer")
    assert await handler.handle("no", delivery()) is False
    assert await handler.handle("yes", delivery()) is None, "nobody reads it"
    with pytest.raises(HandlerError, match="a value of type object cannot be passed to another process"):
        await call(handler, "yes")
    assert await call(make("echo"), 1, b"\xff", {"a": [None, 1.5]}) == [1, b"\xff", {"a": [None, 1.5]}]


async def test_the_context_asks_the_worker(make: Make) -> None:
    context = delivery()
    context.known_queues["app:other"] = {"message_count": 4}
    context.functions["app:double"] = lambda number: number * 2
    context.variables["NAME"] = "value"
    context.is_stopping = True
    assert await call(make("asks"), "me", context=context) == [36, 4, 42, "value", True, False]
    [sent] = context.published
    assert (sent.queue, sent.body, sent.headers, sent.options) == ("app:other", {"from": "me"}, {"h": 1}, {"delay": 2})


async def test_resources_logs_and_settlements(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    context = delivery()
    context.resources["app:store"] = memory_store("app:store")
    assert await call(make("stores"), [1], context=context) == [[1], "1"]
    assert await call(make("logs"), "it", context=context) is None
    assert [(logged.level, logged.message, logged.fields) for logged in context.logged] == [
        ("info", "inside it", {"colour": "red"})
    ]
    assert ("theirs", 30, "outside") in caplog.record_tuples
    await call(make("settles"), 1, context=context)
    assert context.settled == [("nack", "5s")]


async def test_errors_of_the_worker_keep_their_type(make: Make) -> None:
    context = delivery()
    context.publish_error = QueueFullError("queue is full", driver="d", queue="app:full")
    assert await call(make("catches"), 1, context=context) == ["queue is full", "app:full", "rejected", True]


@pytest.mark.parametrize(
    "error",
    [
        QueueFullError("x", driver="d", queue="q", outcome="unknown"),
        PolicyDeniedError("x", actor="a", action="b", resource="c", policy="d"),
        HandlerNotFoundError("x", kind="NotFound", retryable=False, details={"a": 1}),
        ValueError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_cross_as_they_are(error: Exception) -> None:
    again = PlainFailure(*decode(encode(exact_failure_of(error)))).error()
    assert type(again) is type(error)
    assert {name: value for name, value in vars(again).items() if value} == {
        name: value for name, value in vars(error).items() if value
    }


async def test_how_a_function_ends_is_told(make: Make) -> None:
    handler = make("signals")
    with pytest.raises(Retry) as retry:
        await call(handler, "retry")
    assert (retry.value.reason, retry.value.after) == ("later", "7s")
    with pytest.raises(Reject, match="never"):
        await call(handler, "reject")
    with pytest.raises(HandlerError, match="ZeroDivisionError: by zero") as raised:
        await call(make("raises"), 1)
    assert "faulty.py" in raised.value.traceback
    with pytest.raises(HandlerError, match="Hostile: \\(its text cannot be shown\\)"):
        await call(make("raises_hostile"), 1)


async def test_what_cannot_be_loaded_says_so(make: Make) -> None:
    with pytest.raises(HandlerNotFoundError, match="has no 'nothing'"):
        await make("nothing").start()


# What goes wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("exit", "ended with exit status 3"),
        ("segfault", "was killed by SIGSEGV"),
        ("abort", "was killed by SIGABRT"),
        ("kill", "was killed by SIGKILL (from outside, or for lack of memory)"),
        ("close", "was killed"),
        ("garbage", "was killed"),
    ],
)
async def test_a_dead_process_fails_its_message_and_is_replaced(make: Make, how: str, told: str) -> None:
    handler = make("wrong")
    await handler.start()
    pids = handler.processes()
    with pytest.raises(HandlerError) as caught:
        await call(handler, how)
    assert str(caught.value).startswith("app:f: its process ")
    assert told in str(caught.value)
    assert caught.value.retryable
    assert await call(handler, "nothing") is None
    assert not set(pids) & set(handler.processes())


@pytest.mark.parametrize(
    ("how", "told"),
    [("sys.exit", "SystemExit"), ("memory", "MemoryError"), ("recursion", "RecursionError")],
)
async def test_what_the_process_survives(make: Make, how: str, told: str) -> None:
    handler = make("harmless", memory=64 * 2**20)
    await handler.start()
    pids = handler.processes()
    with pytest.raises(HandlerError, match=told):
        await call(handler, how)
    assert await call(handler, "nothing") == "survived"
    assert handler.processes() == pids


async def test_the_worker_keeps_its_folder_and_environment(make: Make) -> None:
    before = (os.getcwd(), dict(os.environ))
    assert await call(make("harmless"), "folder") == "survived"
    assert (os.getcwd(), dict(os.environ)) == before


async def test_a_plain_function_that_computes_too_long_is_interrupted_in_its_process(make: Make) -> None:
    handler = make("spins", time=0.2)
    await handler.start()
    pids = handler.processes()
    with pytest.raises(HandlerTimeoutError, match=r"longer than its limits\.time \(200ms\)"):
        await call(handler, "spin")
    assert await call(handler, "good") == "good"
    assert handler.processes() == pids


@pytest.mark.parametrize("method", ["spins_on", "blocks"])
async def test_what_does_not_end_in_time_is_killed_and_replaced(make: Make, method: str) -> None:
    handler = make(method, time=0.2)
    await handler.start()
    pids = handler.processes()
    with pytest.raises(HandlerTimeoutError, match=r"longer than its limits\.time \(200ms\)"):
        await call(handler, "spin")
    async with asyncio.timeout(60):
        while any(map(_is_alive, pids)):
            await asyncio.sleep(0.01)
    if method == "spins_on":
        assert await call(handler, "good") == "good"


async def test_what_waits_ends_in_time_by_itself(make: Make) -> None:
    handler, context = make("waits", time=0.2), delivery()
    await handler.start()
    pids = handler.processes()
    with pytest.raises(HandlerTimeoutError):
        await call(handler, 1, context=context)
    assert handler.processes() == pids, "it ended when it was cancelled"


async def test_two_messages_run_in_two_processes(make: Make) -> None:
    handler, context = make("meets", processes=2), delivery()
    context.resources["app:store"] = memory_store("app:store")
    assert await asyncio.gather(*(call(handler, number, context=context) for number in range(2))) == [2, 2]


async def test_what_a_function_forks_does_not_hide_its_end(make: Make) -> None:
    handler = make("forks")
    with pytest.raises(HandlerError, match="ended with exit status 5"):
        await call(handler, 1)


async def test_an_orderly_signal_to_the_group_does_not_end_a_child(make: Make) -> None:
    handler = make("pid")
    first = await call(handler, 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(first, number)
    assert await call(handler, 1) == first


PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - name: tasks
    kind: queue.queue
    driver: driver
    dead_letter: {queue: dead, max_attempts: 2}
    retry: {initial_delay: 10ms, jitter: 0}
  - {name: dead, kind: queue.queue, driver: driver}
  - name: faulty
    kind: function.python
    source: file://faulty.py
    method: wrong
    isolation: process
  - {name: spins, kind: function.python, source: file://faulty.py, method: spins, isolation: process}
  - name: lua
    kind: function.lua
    source: return function(body) while body == 'spin' do end end
    isolation: process
    limits: {time: 60s}
  - name: consumer
    kind: queue.consumer
    queue: tasks
    func: FUNCTION
    concurrency: 1
    handler_timeout: 3s
    lifecycle: {auto_start: true}
"""


@pytest.mark.parametrize(
    ("function", "body", "told"),
    [
        ("faulty", "exit", "app:faulty: its process ended with exit status 3"),
        ("spins", "spin", "the handler ran longer than handler_timeout (3s)"),
        ("lua", "spin", "the handler ran longer than handler_timeout (3s)"),
    ],
)
async def test_a_message_whose_child_dies_is_a_failed_attempt(
    tmp_path: Path, function: str, body: str, told: str
) -> None:
    (tmp_path / "_index.yaml").write_text(PROJECT.replace("FUNCTION", function))
    (tmp_path / "faulty.py").write_text(FAULTY.read_text())
    app = App.load(tmp_path)
    async with app:
        for sent in (body, "nothing"):
            await app.queue("tasks").publish(sent)
        await app.start()
        await asyncio.wait_for(wait_until_empty(lambda: app._runtime.assembly, lambda id: True), 60.0)
        [dead] = await app.queue("dead").peek(10)
        assert dead.headers[LAST_ERROR] == told


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
