"""What honest scripts pay for the guards, counted in instructions: the same on every machine, however busy it is."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tasuki.handlers.lua import ScriptLimits
from tasuki.handlers.lua.host.runtime import Runtime
from tests.unit.consumers.instructions import counting
from tests.unit.handlers.lua.support import delivery, handler

GUARDED = {
    "string_sub": ("'hello', 2, 3", 23, 3),
    "byte": ("'hello', 2", 15, 3),
    "string_char": ("65", 12, 1),
    "string_upper": ("'hello'", 23, 5),
    "format": ("'%s-%d', 'x', 5", 56, 9),
    "find": ("'key=value', '=', 1, true", 55, 8),
    "match": ("'key=value', '^(%w+)='", 47, 6),
    "gsub": ("'hello world', '%w+', 'x'", 59, 7),
    "rep": ("'ab', 3", 45, 7),
    "concat": ("{'a', 'b'}, ','", 58, 10),
    "math_floor": ("1.5", 8, 2),
    "math_max": ("1, 2", 10, 2),
    "math_random": ("6", 15, 3),
    "select": ("2, 'a', 'b'", 12, 2),
}
"""Arguments of a guarded function, and what one call takes at most: instructions of Lua, and functions that are
entered, of C too."""

COUNT = """
local debug, load = debug, load
return function(f, arguments, mask, period, times)
  local call = load("local f, times = ... for _ = 1, times do f(" .. arguments .. ") end")
  local count = 0
  call(f, 1) -- compiled and cached from the first call on
  debug.sethook(function() count = count + 1 end, mask, period)
  call(f, times)
  debug.sethook()
  return count
end
"""


@pytest.mark.parametrize("name", GUARDED)
def test_a_guarded_function_costs_no_more_than_its_budget(name: str) -> None:
    arguments, instructions, calls = GUARDED[name]
    runtime: Any = Runtime(ScriptLimits())
    count, guarded = runtime._lua.execute(COUNT), runtime._guards[name]
    found = [
        (count(guarded, arguments, mask, period, 200) - count(guarded, arguments, mask, period, 100)) / 100
        for mask, period in (("", 1), ("c", 0))
    ]
    assert found[0] <= instructions
    assert found[1] <= calls


BODIES: dict[str, tuple[Any, int]] = {
    "a text": ("text", 95),
    "a flat object": ({"id": 12345, "name": "some customer", "price": 12.5, "ok": True}, 240),
    "an object of objects": (
        {"id": 1, "rows": [{"sku": "a", "n": 2}, {"sku": "b", "n": 3}], "to": {"zip": "530"}},
        642,
    ),
}
"""A body, and how many instructions of Python the handler takes to give it to a script that does nothing."""


@pytest.mark.anyio
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions of Python compile to other instructions")
@pytest.mark.parametrize("name", BODIES)
async def test_a_message_costs_no_more_than_its_budget(name: str) -> None:
    body, most = BODIES[name]
    made, context = handler("return function(body) return true end"), delivery()
    await made.start()

    async def cost_of(messages: int) -> int:
        with counting("/tasuki/handlers/lua/") as count:
            for _ in range(messages):
                await made.handle(body, context)
        return count.instructions

    found = (await cost_of(300) - await cost_of(100)) / 200
    assert found <= most
