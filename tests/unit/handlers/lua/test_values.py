"""Python values to Lua and back."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.errors import HandlerError, LuaLimitError
from tasuki.handlers.lua.host import outbound as module
from tasuki.handlers.lua.host.outbound import Guest, LargeValueError, Outbound, build, clamp_integers, plain_decimal
from tests.unit.handlers.lua.support import delivery, handler, run


class Marked:
    """Stands for a Lua table."""

    def __init__(self, *items: Any) -> None:
        self.items = items


def in_steps_of(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any value that has more than these; so small ones are converted as large ones are."""
    monkeypatch.setattr(module, "STEP", parts)
    monkeypatch.setattr(module, "_FEW", min(parts, module._FEW))


def outbound() -> Outbound:
    return Outbound(Guest(Marked, Marked, Marked, Marked, lambda value: ("table", value)))


def test_clean_values_are_passed_as_they_are() -> None:
    for value in (None, True, 1, 1.5, "x", b"x", {"a": 1, "b": None}, [1, {"a": [2]}], {"a": {"b": [1]}}):
        assert outbound().prepare(value) is value


def test_an_empty_dict_is_marked_and_an_empty_list_is_not() -> None:
    assert isinstance(outbound().prepare({}), Marked)
    assert outbound().prepare([]) == []
    nested = outbound().prepare({"a": {"b": {}}, "c": (1, [])})
    assert isinstance(nested["a"]["b"], Marked)
    assert nested["c"] == (1, [])


def test_a_list_with_holes_is_made_of_its_items() -> None:
    made = outbound().prepare([1, None, {"a": 1}])
    assert made.items == (1, None, ("table", {"a": 1}))


def test_keys_become_texts() -> None:
    assert outbound().prepare({(1, 2): "a", 1: "b"}) == {"(1, 2)": "a", "1": "b"}
    assert outbound().prepare({1: "b", b"k": "c"}) == {1: "b", b"k": "c"}


def test_a_table_with_many_integer_keys_that_are_no_list_is_refused() -> None:
    alike = {number * (2**17 - 1): 1 for number in range(1, 1002)}  # all share one place in a table of 2^17
    for value in (alike, [{"a": alike}], [dict.fromkeys(range(-500, 0)), dict.fromkeys(range(-1001, 0))]):
        with pytest.raises(HandlerError, match="more than 1000 integer keys") as raised:
            outbound().prepare(value)
        assert (raised.value.kind, raised.value.retryable) == ("Invalid", False)
    alike.popitem()
    assert outbound().prepare(alike) is alike


@pytest.mark.anyio
async def test_a_large_table_with_many_integer_keys_that_are_no_list_is_refused() -> None:
    made = handler("return function(body) local n = 0 for _ in pairs(body) do n = n + 1 end return n end")
    alike = {number * (2**17 - 1): 1 for number in range(1, 9_000)}
    for value in (alike, [alike], {"a": [1] * 10_000, "b": alike}):
        with pytest.raises(HandlerError, match="more than 1000 integer keys") as raised:
            await made.call([value], delivery())
        assert (raised.value.kind, raised.value.retryable) == ("Invalid", False)
    assert await made.call([dict.fromkeys(range(1, 50_000), 1)], delivery()) == 49_999


@pytest.mark.anyio
async def test_a_value_that_cannot_fit_the_memory_of_a_script_is_not_converted() -> None:
    made = handler("return function(body) return #body end", memory=3 * 2**20)
    with pytest.raises(LuaLimitError, match="more than its 3MiB of memory"):
        await made.handle([[]] * 200_000, delivery())
    assert await made.handle([[]] * 10_000, delivery()) == 10_000


LARGE = {
    "list": list(range(60_000)),
    "rows": [{"a": 1}] * 20_000,
    "object": {str(number): 1 for number in range(30_000)},
}


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["handle", "call", "answer"])
async def test_others_run_while_a_large_value_is_converted(way: str) -> None:
    """In steps of some thousand parts: 180,000 need at least 30."""
    made = handler("return function(body) if body == 1 then body = funcs.call('app:f') end return #body.rows end")
    context, turns = delivery(), 0
    context.functions["app:f"] = lambda: LARGE

    async def live() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    await made.start()
    other = asyncio.create_task(live())
    work = made.call([LARGE], context) if way == "call" else made.handle(1 if way == "answer" else LARGE, context)
    assert await work == 20_000
    other.cancel()
    assert turns >= 30


@pytest.mark.anyio
async def test_a_message_that_is_cancelled_while_its_answer_is_converted_is_forgotten() -> None:
    made = handler("return function(body) local got = funcs.call('app:f') return #got.rows end")
    context = delivery()
    context.functions["app:f"] = lambda: LARGE
    await made.start()
    work = asyncio.create_task(made.handle(1, context))
    for _ in range(10):
        await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert await made.handle(1, context) == 20_000


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        "local _, err = funcs.call('app:f') return err:message()",
        """local ch = channel.new(1)
        coroutine.spawn(function() local _, err = funcs.call('app:f') ch:send(err:message()) end)
        return (ch:receive())""",
    ],
)
async def test_a_large_answer_that_cannot_be_converted_is_an_error_of_its_call(code: str) -> None:
    context = delivery()
    context.functions["app:f"] = lambda: [*range(10_000), 2**70]
    assert await run(code, context=context) == "a number is beyond 64 bits"


def test_a_value_of_many_parts_is_left_to_steps() -> None:
    large: list[Any] = [[0] * 6_000, {"a": [[1]] * 3_000}, [{}] * 6_000]
    for value in large:
        with pytest.raises(LargeValueError):
            outbound().prepare(value)
    assert outbound().prepare({"a": [1] * 4_000})


@pytest.mark.anyio
async def test_the_conversion_of_a_body_counts_for_the_time_of_its_script() -> None:
    made = handler("return function(body) return true end", time=0.001)
    with pytest.raises(LuaLimitError, match="longer than its 1ms"):
        await made.handle([[1, 2, 3]] * 20_000, delivery())
    with pytest.raises(LuaLimitError, match="longer than its 1ms"):
        await made.handle({str(number): number for number in range(100_000)}, delivery())
    assert await made.handle({"small": 1}, delivery()) is True


@pytest.mark.anyio
async def test_a_format_that_allows_integer_keys_builds_no_table_of_them_in_a_script() -> None:
    body = msgspec.msgpack.encode({number * (2**17 - 1): 1 for number in range(1, 70_000)})
    code = (
        "local p = payload.new(body):transcode(payload.format.BYTES):transcode(payload.format.MSGPACK)"
        " local value, err = p:data() return {value == nil, err:kind(), err:message()}"
    )
    told = [True, "Invalid", "value has more than 1000 integer keys that are not 1…n; write them as texts"]
    assert await run(code, body) == told


@dataclasses.dataclass
class Point:
    x: int


class Struct(msgspec.Struct):
    day: datetime.date


def test_other_types_are_converted_or_refused() -> None:
    assert outbound().prepare(Point(1)) == {"x": 1}
    assert outbound().prepare([Struct(datetime.date(2020, 1, 2))]) == [{"day": "2020-01-02"}]
    for value in (object(), {"a": lambda: 1}, [1j]):
        with pytest.raises(HandlerError, match="cannot be passed to Lua") as raised:
            outbound().prepare(value)
        assert raised.value.kind == "Invalid"


def test_depth_is_bounded() -> None:
    value: Any = 1
    for _ in range(200):
        value = [value]
    with pytest.raises(HandlerError, match="nested deeper than 128 levels"):
        outbound().prepare(value)


@pytest.mark.parametrize(
    ("shape", "values", "expected"),
    [
        ("", (), []),
        (None, (1, 2), [1, 2]),
        ("vv", (1, None), [1, None]),
        ("b", ("\xff\x00",), [b"\xff\x00"]),
        ("A", (2, 1, 2), [[1, 2]]),
        ("O", (1, "a", 1), [{"a": 1}]),
        ("vAv", ("x", 0, "y"), ["x", [], "y"]),
        ("avA", (2, 1, 1, 5), [[1, [5]]]),
        ("ovO", (2, "a", 1, "b", 1, "c", 2), [{"a": 1, "b": {"c": 2}}]),
    ],
)
def test_build(shape: str | None, values: tuple[Any, ...], expected: list[Any]) -> None:
    assert build(shape, values) == expected


def test_exotic_floats_are_written_in_plain_decimal() -> None:
    assert [bytes(raw) for raw in build("xx", (1e-7, 1e22))] == [b"0.0000001", b"1" + b"0" * 22]
    assert plain_decimal(-2.5e-10) == "-0.00000000025"


def test_clamp() -> None:
    assert clamp_integers({"a": [2**70, -(2**70), 5], "b": "x"}) == {"a": [2**63 - 1, -(2**63), 5], "b": "x"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def without_nulls(value: Any) -> Any:
    """What Lua keeps: keys with null are absent, trailing holes of a list are gone."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        items = [without_nulls(item) for item in value]
        while items and items[-1] is None:
            items.pop()
        return items
    return value


def result_of(work: Coroutine[Any, Any, Any]) -> Any:
    """Of one that waits for nothing, but lets others run."""
    while True:
        try:
            work.send(None)
        except StopIteration as end:
            return end.value


def is_marked_empty(value: Any) -> bool:
    """A dict of nulls only is no longer known to be a dict."""
    if isinstance(value, dict):
        return (bool(value) and all(item is None for item in value.values())) or any(
            map(is_marked_empty, value.values())
        )
    return isinstance(value, list) and any(map(is_marked_empty, value))


@pytest.mark.anyio
@pytest.mark.parametrize("step", [module.STEP, 7, 1])
async def test_any_json_value_survives_the_round_trip(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with small ones in steps."""
    in_steps_of(step, monkeypatch)
    made = handler("return function(body) return body end")
    await made.start()

    @given(JSON)
    def check(value: Any) -> None:
        if is_marked_empty(value):
            return
        assert result_of(made.call([value], delivery())) == without_nulls(value)

    check()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("return {[1] = 'a', [3] = 'c'}", ["a", None, "c"]),
        ("return {[1] = 'a', [3] = 'c', x = 1}", {1: "a", 3: "c", "x": 1}),
        ("return {[0] = 1, [-1] = 2, [1.5] = 3, [true] = 4}", {0: 1, -1: 2, "1.5": 3, "true": 4}),
        ("return {[0] = 'a', 'b'}", {0: "a", 1: "b"}),
        ("return {[1e9 // 1 | 0] = 1}", {10**9: 1}),
        ("return {f = math.huge}", {"f": float("inf")}),
        ("return {[errors.new('k')] = 1}", {"k": 1}),
        ("return {bin = '\\200'}", {"bin": b"\xc8"}),
        ("return {['\\200'] = 1}", {"\ufffd": 1}),
        ("return {table.freeze({1, 2})}", [[1, 2]]),
        ("return body.none == nil and #body.list", 3),
        ("body.empty.x = 1 body.empty.x = nil return body.empty", {}),
        ("return setmetatable(body.empty, nil)", []),
        ("return getmetatable(body.empty) == nil", True),
        ("return math.type(body.int) .. math.type(body.float)", "integerfloat"),
    ],
)
@pytest.mark.parametrize("step", [module.STEP, 1])
async def test_values_of_scripts(code: str, expected: Any, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    in_steps_of(step, monkeypatch)
    body: dict[str, Any] = {"none": None, "list": [1, None, 3], "empty": {}, "int": 1, "float": 1.0}
    assert await run(code, body) == expected


@pytest.mark.anyio
async def test_what_belongs_to_a_runtime_stays_there() -> None:
    assert await run("return {f = print, c = coroutine.create(print), t = time.now(), n = 1}") == {
        "f": None, "c": None, "t": None, "n": 1,
    }  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize("step", [module.STEP, 1])
async def test_error_objects_are_kept(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    in_steps_of(step, monkeypatch)
    made = "errors.new({message = 'm', kind = 'Conflict', retryable = true, details = {a = {1, b = 2}}})"
    error = (await run(f"return {{e = {made}}}"))["e"]
    assert isinstance(error, HandlerError)
    fields = (error.message, error.kind, error.retryable, error.details)
    assert fields == ("m", "Conflict", True, {"a": {"b": 2}})
    code = """local e, p = body.list[1], body.list[2]
        return {e:message(), e:kind(), e:retryable(), e:details().a.b, p:details() == nil}"""
    plain = HandlerError("p")
    assert await run(code, {"list": [error, plain]}) == ["m", "Conflict", True, 2, True]
