"""funcs: what becomes of the circumstances of a call, which may come from a script in another process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.errors import HandlerError, PolicyDeniedError
from tasuki.handlers.lua.modules.calls import funcs
from tasuki.testing.context import RecordingContext
from tests.unit.handlers.lua.support import delivery, handler, run

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("how", "given"),
    [
        ({"values": {"a": 1}}, {"values": {"a": 1}, "actor": None, "scope": None}),
        ({"values": []}, {"values": {}, "actor": None, "scope": None}),
        ({"actor": {"id": "me", "meta": []}}, {"values": None, "actor": {"id": "me", "meta": {}}, "scope": None}),
        ({"scope": {}}, {"values": None, "actor": None, "scope": []}),
        ({"scope": ["app:p"], "other": 1}, {"values": None, "actor": None, "scope": ["app:p"]}),
    ],
)
async def test_circumstances(how: dict[str, Any], given: dict[str, Any]) -> None:
    context = delivery()
    context.functions["app:f"] = lambda x: x + 1
    assert await funcs.call(context, "app:f", how, 1) == 2
    assert context.called_with == [given]


@pytest.mark.parametrize(
    "how",
    ["x", 1, [1], {"values": "x"}, {"values": [1]}, {"actor": {"id": 5}}, {"actor": {"meta": {}}}, {"actor": "root"},
     {"scope": [1]}, {"scope": [["x"]]}, {"scope": 5}],
)  # fmt: skip
async def test_what_are_no_circumstances(how: Any) -> None:
    context = delivery()
    context.functions["app:f"] = lambda: 1
    with pytest.raises(HandlerError, match="has the wrong type") as raised:
        await funcs.call(context, "app:f", how)
    assert raised.value.kind == "Invalid"
    assert context.called_with == []


async def test_denials_of_the_circumstances_keep_their_text() -> None:
    class Narrow(RecordingContext):
        async def call(self, function: str, *args: Any, **how: Any) -> Any:
            raise PolicyDeniedError("not in that name", action="funcs.security", resource="security")

    with pytest.raises(HandlerError, match=r"^not in that name$") as raised:
        await funcs.call(Narrow(), "app:f", {})
    assert raised.value.kind == "PermissionDenied"
    with pytest.raises(HandlerError, match="no handler registered for target"):
        funcs.check(Narrow(), "app:f")


async def test_a_future_is_dropped_with_its_maker() -> None:
    context, ended = delivery(), asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    context.functions["app:endless"] = endless
    assert await run("funcs.async('app:endless') time.sleep('1ms') return 1", context=context) == 1
    await asyncio.wait_for(ended.wait(), 10)


async def test_a_script_cannot_start_functions_while_it_loads() -> None:
    for call in ("funcs.async('a:b')", "funcs.new():async('a:b')"):
        with pytest.raises(HandlerError, match=r"funcs\.async cannot be used while the script loads"):
            await handler(f"{call} return print").start()


BIG = "local big, n = ('x'):rep(1024 * 1024), 0"


async def test_what_functions_under_way_are_given_is_bounded_by_the_memory_of_the_script() -> None:
    context = delivery()

    async def endless(text: str) -> None:
        await asyncio.Event().wait()

    context.functions["app:endless"] = endless
    code = (
        BIG
        + """
        while n < 1000 do
            local future, err = funcs.async('app:endless', big)
            local failed = select(2, future:error())
            if failed then return {n, select(2, future:result()):message()} end
            n = n + 1
        end"""
    )
    n, problem = await run(code, context=context, memory=2**24)
    assert n == 15
    assert problem == "more than 16MiB given to operations under way; limits.memory of the entry allows more"


async def test_what_has_ended_does_not_count() -> None:
    context = delivery()

    async def soon(text: str) -> int:
        await asyncio.sleep(0)
        return len(text)

    context.functions["app:soon"] = soon
    code = (
        BIG
        + """
        for i = 1, 100 do
            local future = funcs.async('app:soon', big)
            n = n + future:response():receive():data()
        end
        return n"""
    )
    assert await run(code, context=context, memory=2**24) == 100 * 2**20
