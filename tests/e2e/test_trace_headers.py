"""A handler's messages continue the trace of its own message, on every driver, without a library for traces."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from pathlib import Path
from uuid import uuid4

import pytest

from tasuki import App, Context, Moment
from tasuki.message import HeaderValue, Message
from tasuki.queues.queue import Envelope
from tests.e2e.projects import write
from tests.support.brokers.everywhere import DRIVERS, overrides

pytestmark = pytest.mark.anyio

PARENT = f"00-{'4b' * 16}-{'0a' * 8}-01"
OWN = f"00-{'5c' * 16}-{'0b' * 8}-00"

PYTHON = f"""
from tasuki import Context

async def coroutine(body: str, context: Context) -> None:
    await context.publish("app:end", [body, context.trace])

def thread(body: str, context: Context):
    return context.publish("app:end", [body, context.trace])

async def step(body: str, context: Context) -> None:
    await context.step("one", context.publish, "app:end", [body, context.trace])

async def own(body: str, context: Context) -> None:
    await context.publish("app:end", [body, None], {{"traceparent": "{OWN}", "tracestate": "mine=1"}})

async def reply(body: str, context: Context) -> list:
    return [body, context.trace]

async def dead(body: str) -> None:
    raise ValueError(body)
"""
LUA = """
local queue, ctx = require("queue"), require("ctx")
return function(body)
  local _, err = queue.publish("app:end", {body.body or body, ctx.trace()})
  assert(err == nil)
end
"""
SPAWN = """
local queue, ctx = require("queue"), require("ctx")
return function(body)
  local done = channel.new()
  coroutine.spawn(function()
    local _, err = queue.publish("app:end", {body.body or body, ctx.trace()})
    done:send(err == nil)
  end)
  assert(done:receive())
end
"""
CALLS = """
local funcs = require("funcs")
return function(body)
  local _, err = funcs.call("app:lua", body.body)
  assert(err == nil)
end
"""
MODULES = "modules: [queue, ctx, funcs]"
PROJECT = f"""\
version: "1.0"
namespace: app
entries:
  - {{name: driver, kind: queue.driver.memory}}
  - {{name: end, kind: queue.queue, driver: driver}}
  - name: start
    kind: queue.queue
    driver: driver
    dead_letter: {{queue: end, max_attempts: 2}}
    retry: {{initial_delay: 10ms}}
  - {{name: coroutine, kind: function.python, source: file://handlers.py, method: coroutine}}
  - {{name: thread, kind: function.python, source: file://handlers.py, method: thread}}
  - {{name: isolated, kind: function.python, source: file://handlers.py, method: coroutine, isolation: process}}
  - {{name: step, kind: function.python, source: file://handlers.py, method: step}}
  - {{name: own, kind: function.python, source: file://handlers.py, method: own}}
  - {{name: reply, kind: function.python, source: file://handlers.py, method: reply}}
  - {{name: dead, kind: function.python, source: file://handlers.py, method: dead}}
  - {{name: lua, kind: function.lua, source: file://relay.lua, {MODULES}}}
  - {{name: lua_isolated, kind: function.lua, source: file://relay.lua, isolation: process, {MODULES}}}
  - {{name: lua_threads, kind: function.lua, source: file://relay.lua, pool: {{workers: 1}}, {MODULES}}}
  - {{name: spawn, kind: function.lua, source: file://spawn.lua, {MODULES}}}
  - {{name: calls, kind: function.lua, source: file://calls.lua, {MODULES}}}
  - name: worker
    kind: queue.consumer
    queue: start
    concurrency: 4
    funcs: {{FUNCTIONS}}
    lifecycle: {{auto_start: true}}
"""
PLAIN = ("coroutine", "thread", "isolated", "lua", "lua_isolated", "lua_threads", "spawn", "calls")
OF_STATE = ("step",)
"""Needs a state, which AMQP and SQS do not have by themselves."""
FILES = {"handlers.py": PYTHON, "relay.lua": LUA, "spawn.lua": SPAWN, "calls.lua": CALLS}


def project(folder: Path, names: tuple[str, ...]) -> Path:
    functions = ", ".join(f"{name}: app:{name}" for name in names)
    return write(folder, {**FILES, "_index.yaml": PROJECT.replace("FUNCTIONS", functions)})


def load(folder: Path, driver: str, names: tuple[str, ...]) -> App:
    renamed = [f"app:{name}:queue_name={name}_{uuid4().hex[:8]}" for name in ("start", "end")]
    return App.load(project(folder, names), overrides=[*overrides(driver, "app:driver", folder), *renamed])


async def taken(app: App, count: int) -> list[Message]:
    """This many messages of the last queue."""
    queue, found = app._runtime.queue("app:end"), list[Message]()
    async with asyncio.timeout(60):
        while len(found) < count:
            found += await queue.driver.receive(queue.spec.name, count - len(found), 1.0)
    return found


async def publish(app: App, name: str, **headers: HeaderValue) -> None:
    await app.publish("app:start", {"body": name}, {"message_type": name, **headers})


@pytest.mark.parametrize("driver", DRIVERS)
async def test_all_that_a_handler_sends_continues_its_trace(driver: str, tmp_path: Path) -> None:
    stateful = () if driver in ("amqp", "sqs") else OF_STATE
    app = load(tmp_path, driver, (*PLAIN, *OF_STATE, "own", "reply", "dead"))
    trace: dict[str, HeaderValue] = {"traceparent": PARENT, "tracestate": "vendor=1"}
    async with app.worker():
        for name in (*PLAIN, *stateful):
            await publish(app, name, **trace)
        await publish(app, "reply", reply_to="app:end", **trace)
        await publish(app, "own", **trace)
        await publish(app, "dead", **trace)
        found = await taken(app, len(PLAIN) + len(stateful) + 3)
        [letter] = [each for each in found if "x_last_error" in each.headers]
        found.remove(letter)
        bodies = [app._runtime.queue("app:end").decode(each) for each in found]

    seen = {name: (trace, *names_of(each)) for (name, trace), each in zip(bodies, found, strict=True)}
    expected = dict.fromkeys((*PLAIN, *stateful, "reply"), (PARENT, PARENT, "vendor=1"))
    assert seen == {**expected, "own": (None, OWN, "mine=1")}
    assert names_of(letter) == (PARENT, "vendor=1")
    assert "x_trace" not in letter.headers


def names_of(message: Message) -> tuple[HeaderValue | None, HeaderValue | None]:
    return message.headers.get("traceparent"), message.headers.get("tracestate")


@pytest.mark.parametrize("traceparent", [None, "nonsense", f"00-{'0' * 32}-{'0a' * 8}-01", 7])
async def test_no_trace_is_made_up(traceparent: HeaderValue | None, tmp_path: Path) -> None:
    app = load(tmp_path, "memory", PLAIN)
    given: dict[str, HeaderValue] = {} if traceparent is None else {"traceparent": traceparent, "tracestate": "a=1"}
    async with app.worker():
        for name in PLAIN:
            await publish(app, name, **given)
        found = await taken(app, len(PLAIN))
        bodies = [app._runtime.queue("app:end").decode(each) for each in found]

    assert not any({"traceparent", "tracestate"} & each.headers.keys() for each in found)
    assert all(len(body) == 1 or body[1] is None for body in bodies)


async def test_a_trace_ends_with_its_message(tmp_path: Path) -> None:
    app = load(tmp_path, "memory", PLAIN)
    async with app.worker():
        for name in PLAIN:
            await publish(app, name, traceparent=PARENT)
        await taken(app, len(PLAIN))
        for name in PLAIN:
            await publish(app, name)
        found = await taken(app, len(PLAIN))

    assert not any("traceparent" in each.headers for each in found)


async def test_a_plain_function_publishes_from_threads_of_its_own_too() -> None:
    app = App("memory://")
    jobs, end = app.queue("jobs"), app.queue("end")

    @jobs.consumer
    def handle(body: str) -> None:
        app.sync.publish(end, "pool")
        copied = contextvars.copy_context()
        other = threading.Thread(target=copied.run, args=(app.sync.publish, end, "own"))
        other.start()
        other.join()

    async with app.worker():
        await jobs.publish("x", {"traceparent": PARENT})
        found = await taken(app, 2)

    assert [each.headers["traceparent"] for each in found] == [PARENT, PARENT]


async def test_a_batch_continues_the_trace_that_all_its_messages_share() -> None:
    app = App("memory://")
    jobs, end = app.queue("jobs"), app.queue("end")

    @jobs.consumer(batch={"size": 2, "wait": "10s"})
    async def handle(bodies: list[str]) -> None:
        await end.publish(bodies)

    async with app.worker():
        for traces in ((PARENT, PARENT), (PARENT, OWN)):
            await jobs.publish_many([Envelope(body=each, headers={"traceparent": each}) for each in traces])
        found = await taken(app, 2)

    assert [each.headers.get("traceparent") for each in found] == [PARENT, None]


async def test_what_follows_a_message_continues_its_trace() -> None:
    app = App("memory://")
    jobs, end = app.queue("jobs"), app.queue("end")

    @jobs.consumer
    async def handle(body: str) -> str:
        return body

    async with app.worker():
        await jobs.publish("x", {"traceparent": PARENT}, then=end)
        [found] = await taken(app, 1)

    assert found.headers["traceparent"] == PARENT


async def test_a_request_and_its_reply_are_of_one_trace() -> None:
    app = App("memory://")
    jobs, inner, end = app.queue("jobs"), app.queue("inner"), app.queue("end")

    @jobs.consumer
    async def handle(body: str) -> None:
        await end.publish(await inner.request(body, returns=str))

    @inner.consumer
    async def answer(body: str, context: Context) -> str | None:
        return context.trace

    async with app.worker():
        await jobs.publish("x", {"traceparent": PARENT})
        [found] = await taken(app, 1)
        assert app._runtime.queue(end).decode(found) == PARENT

    assert found.headers["traceparent"] == PARENT


async def test_a_hook_continues_the_trace_of_its_message_and_of_no_earlier_one() -> None:
    app = App("memory://")
    jobs, end = app.queue("jobs"), app.queue("end")

    @jobs.consumer
    async def handle(body: str) -> None:
        return None

    @app.on.done
    async def done(moment: Moment) -> None:
        await end.publish("done")

    async with app.worker():
        for headers in ({"traceparent": PARENT}, {"traceparent": OWN}, {}):
            await jobs.publish("x", headers)
        found = await taken(app, 3)

    assert [each.headers.get("traceparent") for each in found] == [PARENT, OWN, None]
