"""Channels, select, coroutine.spawn and timers, in virtual time."""

# ruff: noqa: E501 - a case is a line, and reads best as one

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.errors import HandlerError, LuaError, LuaLimitError
from tasuki.handlers.lua.handler import LuaHandler
from tasuki.handlers.lua.host.scheduler import MOST_ENDING, Concurrency
from tasuki.handlers.lua.script import LuaLimits, LuaScript, LuaSource
from tasuki.testing.clock import virtual_time
from tasuki.testing.context import RecordingContext
from tests.unit.handlers.lua.support import delivery, handler, run


def value_of(code: str, **options: Any) -> Any:
    with virtual_time() as runner:
        return runner.run(run(code, **options))


LOG = "local log = {} local function say(x) log[#log + 1] = x end "

CASES: dict[str, tuple[str, Any]] = {
    "rendezvous": ("local c = channel.new() coroutine.spawn(function() for i = 1, 3 do c:send(i) end c:close() end) while true do local v, ok = c:receive() if not ok then break end say(v) end return log", [1, 2, 3]),
    "buffered": ("local c = channel.new(2) say(c:send('a')) say(c:send('b')) c:close() say(c:receive()) say(c:receive()) local v, ok = c:receive() say(v == nil) say(ok) return log", [True, True, "a", "b", True, False]),
    "nil is a value": ("local c = channel.new(1) c:send(nil) local v, ok = c:receive() return {v == nil, ok}", [True, True]),
    "negative capacity is none": ("local c = channel.new(-3) return channel.select({c:case_send(1)}, true).default", True),
    "a waiting sender moves into the slot": ("local c = channel.new(1) c:send(1) coroutine.spawn(function() say(c:send(2)) end) coroutine.yield() say(c:receive()) say(c:receive()) coroutine.yield() return log", [1, 2, True]),
    "receivers in order": ("local c = channel.new() for i = 1, 3 do coroutine.spawn(function() say(i .. c:receive()) end) end coroutine.yield() c:send('a') c:send('b') c:send('c') coroutine.yield() return log", ["1a", "2b", "3c"]),
    "closing wakes receivers before the closer": ("local c = channel.new() coroutine.spawn(function() local v, ok = c:receive() say(ok) end) coroutine.yield() c:close() say('closer') return log", [False, "closer"]),
    "closing wakes senders with an error": ("local c = channel.new() coroutine.spawn(function() local v, e = c:send(1) say(v == nil) say(e:message()) end) coroutine.yield() c:close() return log", [True, "send on closed channel"]),
    "closing twice": ("local c = channel.new() c:close() c:close() return select('#', c:close())", 0),
    "the sender goes on first": ("local c = channel.new() coroutine.spawn(function() c:receive() say('receiver') end) coroutine.yield() c:send(1) say('sender') coroutine.yield() return log", ["sender", "receiver"]),
    "select in order": ("local a, b = channel.new(1), channel.new(1) a:send(1) b:send(2) local r = channel.select{b:case_receive(), a:case_receive()} return {r.channel == b, r.value, r.ok}", [True, 2, True]),
    "select with default": ("local r = channel.select{channel.new():case_receive(), default = true} return {r.default, r.ok}", [True, True]),
    "default must be true": ("local c = channel.new(1) coroutine.spawn(function() c:send(1) end) return channel.select{c:case_receive(), default = 1}.value", 1),
    "select waits": ("local a, b = channel.new(), channel.new() coroutine.spawn(function() b:send('x') end) local r = channel.select{a:case_receive(), b:case_receive()} return {r.channel == b, r.value, r.ok}", [True, "x", True]),
    "select sends": ("local c = channel.new() coroutine.spawn(function() say(c:receive()) end) local r = channel.select{c:case_send(7)} coroutine.yield() say(r.value) say(r.ok) return log", [7, 7, True]),
    "select on a closed channel": ("local c = channel.new() c:close() local r = channel.select{c:case_receive()} return {r.value == nil, r.ok}", [True, False]),
    "a send case that is closed meanwhile": ("local c = channel.new() coroutine.spawn(function() c:close() end) local r, e = channel.select{c:case_send(1)} return {r == nil, e:message()}", [True, "send on closed channel"]),
    "a select leaves all its queues": ("local a, b = channel.new(), channel.new(1) coroutine.spawn(function() b:send(1) end) channel.select{a:case_receive(), b:case_receive()} return channel.select({a:case_send(1)}, true).default", True),
    "what is no case is ignored": ("local c = channel.new(1) c:send(5) return channel.select{1, 'x', {}, c:case_receive()}.value", 5),
    "spawn runs when its maker waits": ("coroutine.spawn(function() say('a') end) coroutine.spawn(function() say('b') end) say('main') coroutine.yield() return log", ["main", "a", "b"]),
    "spawn passes nothing and returns a thread": ("local n local t = coroutine.spawn(function(...) n = select('#', ...) end) coroutine.yield() return {n, type(t), coroutine.status(t)}", [0, "thread", "dead"]),
    "a spawned thread cannot be resumed": ("local t = coroutine.spawn(function() channel.new():receive() end) coroutine.yield() local ok, e = coroutine.resume(t) return {ok, e, coroutine.status(t)}", [False, "can not resume a running thread", "suspended"]),
    "dead": ("local t = coroutine.create(function() end) coroutine.resume(t) local ok, e = coroutine.resume(t) return e", "can not resume a dead thread"),
    "what is left is dropped": ("coroutine.spawn(function() time.sleep('1h') say('never') end) coroutine.yield() return log", []),
    "sleeps side by side": ("local c = channel.new() for i = 3, 1, -1 do coroutine.spawn(function() time.sleep(i .. 's') c:send(i) end) end for i = 1, 3 do say(c:receive()) end return log", [1, 2, 3]),
    "through pcall and coroutines": ("local c = channel.new() coroutine.spawn(function() coroutine.wrap(function() pcall(function() c:send(1) end) end)() end) return coroutine.wrap(function() local ok, v = pcall(c.receive, c) return v end)()", 1),
    "after": ("local c = time.after('2s') local v, ok = c:receive() say(type(v)) say(ok) v, ok = c:receive() say(ok) return log", ["userdata", True, False]),
    "timer": ("local t = time.timer('1s') say(t:channel() == t:response()) local _, ok = t:channel():receive() say(ok) say(t:stop()) say(t:reset('1s')) return log", [True, True, False, False]),
    "timer stopped": ("local t = time.timer('1s') say(t:stop()) say(t:stop()) local _, ok = t:channel():receive() say(ok) return log", [True, False, False]),
    "timer reset": ("local t, o = time.timer('1s'), time.after('5s') say(t:reset('9s')) say(channel.select{t:channel():case_receive(), o:case_receive()}.channel == o) return log", [True, True]),
    "ticker": ("local t = time.ticker('1s') for i = 1, 3 do say(select(2, t:channel():receive())) end say(t:stop()) say(t:stop()) say(select(2, t:response():receive())) return log", [True, True, True, True, True, False]),
    "a full ticker drops": ("local t = time.ticker('1s') time.sleep('100s') t:stop() local n = 0 while select(2, t:channel():receive()) do n = n + 1 end return n", 16),
    "after zero": ("local c, e = time.after(0) return {c == nil, e:kind(), e:message()}", [True, "Invalid", "time.after: duration must be > 0"]),
    "timer of nothing": ("local c, e = time.timer('x') return e:message()", 'time: invalid duration "x"'),
    "ticker below zero": ("local c, e = time.ticker(-1) return e:message()", "time.ticker: duration must be > 0"),
    "payload": ("local p = payload.new({a = 1}) say(p:get_format()) say(p:transcode('json/plain'):transcode('text/plain'):data()) say(p:data().a) say(tostring(p)) return log", ["lua/any", '{"a":1}', 1, "payload{format=lua/any}"]),
    "payload formats": ("for _, f in ipairs{'yaml/plain', 'application/msgpack', 'json/plain', 'golang/any'} do say(payload.new({1, 2}):transcode(f):data()[2]) end say(payload.new(nil):transcode('text/plain'):data()) say(payload.new(1.5):transcode('text/plain'):data()) return log", [2, 2, 2, 2, "", "1.5"]),
    "payload of an error": ("local p = payload.new(errors.new('x')) local v, e = p:data() return {p:get_format(), v == nil, e:kind(), e:message()}", ["golang/error", True, "Internal", "no transcoding path found"]),
    "payload of nothing": ("local v, e = payload.new(nil):unmarshal() return e:message()", "transcoded data is not a valid Lua value"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_behaves(name: str) -> None:
    code, expected = CASES[name]
    assert value_of(LOG + code) == expected


RAISES = {
    "closed": ("local c = channel.new() c:close() c:send(1)", "script.lua:1: send on closed channel"),
    "capacity": ("channel.new('x')", "script.lua:1: bad argument #1 to new (number expected, got string)"),
    "self": ("local c = channel.new() c.send({}, 1)", "script.lua:1: channel expected"),
    "select": ("channel.select(1)", "bad argument #1 to select (table expected, got number)"),
    "select default": ("channel.select({}, 1)", "bad argument #2 to select (boolean expected, got number)"),
    "field": ("channel.new().x = 1", "attempt to modify a channel"),
    "spawn": ("coroutine.spawn(1)", "script.lua:1: bad argument #1 to 'spawn' (function expected, got number)"),
    "spawned error": ("coroutine.spawn(function() error('inside') end) coroutine.yield()", "script.lua:1: inside"),
    "deadlock": ("channel.new():receive()", "deadlock: all coroutines blocked with no pending operations (threads=1)"),
    "deadlock of two": (
        "local c = channel.new() coroutine.spawn(function() c:receive() end) c:receive()",
        "(threads=2)",
    ),
    "empty select": ("pcall(channel.select, {})", "deadlock: all coroutines blocked"),
    "closed send case": ("local c = channel.new() c:close() channel.select{c:case_send(1)}", "deadlock"),
    "in sort": ("table.sort({2, 1}, function() coroutine.spawn(print) end)", "cannot be used inside table.sort"),
    "timer reset": ("time.timer('1s'):reset(0)", "timer:reset: duration must be > 0"),
    "timer self": ("time.timer('1s').stop(1)", "timer expected"),
    "payload self": ("payload.new(1).data(2)", "payload expected"),
}


@pytest.mark.parametrize("name", RAISES)
def test_it_raises(name: str) -> None:
    code, message = RAISES[name]
    with pytest.raises(LuaError) as raised:
        value_of(code)
    assert message in str(raised.value)
    assert not str(raised.value).startswith("host")


@pytest.mark.parametrize(
    "code",
    [
        "coroutine.spawn(function() while true do end end) coroutine.yield()",
        "local c = channel.new() coroutine.spawn(function() while true do c:send(1) end end) while true do c:receive() end",
        "while true do coroutine.spawn(function() end) coroutine.yield() end",
    ],
)
def test_limits_hold_for_all_coroutines_together(code: str) -> None:
    with pytest.raises(LuaLimitError, match="instructions"):
        value_of(code, instructions=200_000)


def test_a_channel_of_another_call_is_refused() -> None:
    text = "local kept return function() if kept then kept:send(1) end kept = channel.new(1) end"

    async def twice() -> None:
        made = handler(text)
        await made.handle(None, delivery())
        with pytest.raises(LuaError, match="the channel belongs to another call"):
            await made.handle(None, delivery())

    asyncio.run(twice())


def test_two_thousand_sleep_at_once_in_one_runtime() -> None:
    async def all_of_them() -> list[Any]:
        made = handler(
            "return function(n) coroutine.spawn(function() time.sleep('1h') end) time.sleep('1h') return n end"
        )
        tasks = [asyncio.create_task(made.handle(n, delivery())) for n in range(2000)]
        return await asyncio.gather(*tasks)

    with virtual_time() as runner:
        assert runner.run(all_of_them()) == list(range(2000))


def test_a_cancel_ends_everything() -> None:
    async def cancelled() -> None:
        made = handler(
            "return function() coroutine.spawn(function() pcall(time.sleep, '1h') end) pcall(time.sleep, '2h') end"
        )
        task = asyncio.create_task(made.handle(None, delivery()))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with virtual_time() as runner:
        runner.run(cancelled())


async def _talk() -> Any:
    return await run(
        "local c, stop = channel.new(), time.after('1ms')"
        " coroutine.spawn(function() while true do c:send(1) coroutine.yield() end end)"
        " while true do local r = channel.select{stop:case_receive(), c:case_receive()}"
        " if r.channel == stop then return 'stopped' end end"
    )


def test_endless_talk_lets_time_pass() -> None:
    assert asyncio.run(_talk()) == "stopped"  # in real time: virtual time stands still while anything runs


@pytest.mark.anyio
async def test_a_script_cannot_yield_while_it_loads() -> None:
    handler = LuaHandler(LuaScript("a:b", LuaSource("coroutine.yield(1) return function() end", "x.lua")))
    with pytest.raises(HandlerError, match=r"coroutine\.yield cannot be used while the script loads"):
        await handler.start()


@pytest.mark.parametrize(
    "loop",
    [
        "while true do json.decode('[1, 2, 3]') end",
        "while true do logger.info('again') end",
        "coroutine.spawn(function() while true do json.encode({1}) end end) while true do json.encode({2}) end",
    ],
)
@pytest.mark.anyio
async def test_what_python_does_for_a_script_is_its_time_too(loop: str) -> None:
    source = LuaSource(f"return function() {loop} end", "x.lua")
    handler = LuaHandler(LuaScript("a:b", source, modules=["json", "logger"], limits=LuaLimits(time=0.1)))
    with pytest.raises(LuaLimitError, match=r"x\.lua:1: the script ran longer than its 100ms"):
        await handler.handle(1, RecordingContext())


@pytest.mark.anyio
async def test_timers_that_are_stopped_at_once_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    original = Concurrency._cancel

    def counted(self: Concurrency, ticket: int) -> None:
        nonlocal most
        original(self, ticket)
        most = max(most, len(self._leaving))

    monkeypatch.setattr(Concurrency, "_cancel", counted)
    await run("local t = time.timer('1h') for i = 1, 2000 do time.timer('1h'):stop() t:reset('2h') end")
    assert 0 < most < 2 * MOST_ENDING
