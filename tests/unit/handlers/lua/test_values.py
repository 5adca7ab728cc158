"""Python values to Lua and back."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.errors import HandlerError, LuaLimitError
from tasuki.handlers.lua.host.values import Outbound, build, clamp_integers, plain_decimal
from tasuki.handlers.lua.limits import LuaLimits
from tests.unit.handlers.lua.support import delivery, handler, run


class Marked:
    """Stands for a Lua table."""

    def __init__(self, *items: Any) -> None:
        self.items = items


def outbound(limits: LuaLimits = LuaLimits()) -> Outbound:  # noqa: B008 - frozen
    return Outbound(Marked, Marked, Marked, lambda value: ("table", value), limits)


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
    assert outbound().prepare([None] * 6000) == [None] * 6000


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
    assert len(outbound().prepare(dict.fromkeys(range(1, 50000), 1))) == 49_999


def test_a_value_that_cannot_fit_the_memory_of_a_script_is_not_converted() -> None:
    with pytest.raises(LuaLimitError, match="more than its 1MiB of memory"):
        outbound(LuaLimits(memory=2**20)).prepare([[]] * 20_000)


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


def is_marked_empty(value: Any) -> bool:
    """A dict of nulls only is no longer known to be a dict."""
    if isinstance(value, dict):
        return (bool(value) and all(item is None for item in value.values())) or any(
            map(is_marked_empty, value.values())
        )
    return isinstance(value, list) and any(map(is_marked_empty, value))


@pytest.mark.anyio
async def test_any_json_value_survives_the_round_trip() -> None:
    from tests.unit.handlers.lua.support import delivery, handler

    made = handler("return function(body) return body end")
    await made.start()

    @given(JSON)
    def check(value: Any) -> None:
        if is_marked_empty(value):
            return
        coroutine = made.call([value], delivery())
        with pytest.raises(StopIteration) as stopped:
            coroutine.send(None)
        assert stopped.value.value == without_nulls(value)

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
async def test_values_of_scripts(code: str, expected: Any) -> None:
    body: dict[str, Any] = {"none": None, "list": [1, None, 3], "empty": {}, "int": 1, "float": 1.0}
    assert await run(code, body) == expected


@pytest.mark.anyio
async def test_what_belongs_to_a_runtime_stays_there() -> None:
    assert await run("return {f = print, c = coroutine.create(print), t = time.now(), n = 1}") == {
        "f": None, "c": None, "t": None, "n": 1,
    }  # fmt: skip


@pytest.mark.anyio
async def test_error_objects_are_kept() -> None:
    made = "errors.new({message = 'm', kind = 'Conflict', retryable = true, details = {a = {1, b = 2}}})"
    error = (await run(f"return {{e = {made}}}"))["e"]
    assert isinstance(error, HandlerError)
    fields = (error.message, error.kind, error.retryable, error.details)
    assert fields == ("m", "Conflict", True, {"a": {"b": 2}})
    code = """local e, p = body.list[1], body.list[2]
        return {e:message(), e:kind(), e:retryable(), e:details().a.b, p:details() == nil}"""
    plain = HandlerError("p")
    assert await run(code, {"list": [error, plain]}) == ["m", "Conflict", True, 2, True]
