"""Scripts that call each other forever, however each of them is isolated: the time of the first is for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasuki import App
from tasuki.errors import HandlerError, LuaLimitError
from tests.e2e.projects import write

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

ISOLATIONS = {
    "shared": "isolation: shared",
    "threads": "pool: {workers: 2}",
    "process": "isolation: process, pool: {workers: 1}",
}
RECURSIVE = """
local funcs = require("funcs")
return function(n)
  local answer, err = funcs.call("app:other", n + 1)
  if err then return nil, err end
  return answer
end
"""
ENDLESS = """
local funcs = require("funcs")
return function(n)
  while true do
    funcs.call("app:other", n)
    for i = 1, 1e5 do end
  end
end
"""
PATIENT = """
local funcs = require("funcs")
return function()
  local sum = 0
  for i = 1, 20 do sum = sum + funcs.call("app:other", i) end
  return sum
end
"""
SLEEPER = """
local time = require("time")
return function(n)
  time.sleep("30ms")
  return n
end
"""


PAIRS = [
    ("shared", "shared"), ("shared", "process"), ("threads", "threads"), ("threads", "shared"),
    ("process", "process"), ("process", "threads"),
]  # fmt: skip
"""Each isolation calls, and is called by, itself and another one."""


def app(folder: Path, isolation: str, other: str, first: str, second: str, limit: str) -> App:
    return App.load(
        write(
            folder,
            {
                "first.lua": first,
                "second.lua": second,
                "_index.yaml": f"""
version: "1.0"
namespace: app
entries:
  - {{name: one, kind: function.lua, source: file://first.lua, modules: [funcs, time], limits: {{time: {limit}}},
     {isolation}}}
  - {{name: other, kind: function.lua, source: file://second.lua, modules: [funcs, time], limits: {{time: 10s}},
     {other}}}
""",
            },
        )
    )


@pytest.mark.parametrize(("isolation", "other"), PAIRS)
async def test_calls_within_each_other_have_an_end(isolation: str, other: str, tmp_path: Path) -> None:
    async with app(tmp_path, ISOLATIONS[isolation], ISOLATIONS[other], RECURSIVE, RECURSIVE, "5s") as running:
        with pytest.raises(HandlerError, match="app:other: calls are nested deeper than 32 levels"):
            await running.call("app:one", 1)


@pytest.mark.parametrize(("isolation", "other"), PAIRS)
async def test_the_time_of_the_first_is_for_all(isolation: str, other: str, tmp_path: Path) -> None:
    async with app(tmp_path, ISOLATIONS[isolation], ISOLATIONS[other], ENDLESS, ENDLESS, "300ms") as running:
        with pytest.raises(LuaLimitError, match="longer than its 300ms"):
            await running.call("app:one", 1)


@pytest.mark.parametrize("isolation", ISOLATIONS)
async def test_waiting_in_what_is_called_does_not_count(isolation: str, tmp_path: Path) -> None:
    async with app(tmp_path, ISOLATIONS[isolation], ISOLATIONS[isolation], PATIENT, SLEEPER, "300ms") as running:
        assert await running.call("app:one") == 210
