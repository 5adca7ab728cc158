"""The stripper: every place, every type, every ambiguous case; lines and columns stay."""

from __future__ import annotations

import lupa.lua54 as lupa
import pytest

from tasuki.errors import LuaError, LuaSyntaxError
from tasuki.handlers.lua import LuaLibrary, LuaSource
from tasuki.handlers.lua.types import strip
from tests.unit.handlers.lua.support import delivery, handler
from tests.unit.handlers.lua.types.cases import AMBIGUOUS, ENDS, PLACES, TYPES, VALUES

PAIRS = {**PLACES, **AMBIGUOUS, **{typed: (typed, plain) for typed, plain in {**VALUES, **ENDS}.items()}}

compiles = lupa.LuaRuntime(encoding="utf-8").eval("function(text) return select(2, load(text, '=text', 't')) end")


def squeezed(text: str) -> str:
    return "\n".join(" ".join(line.split()).replace(" ,", ",").replace(" ;", ";") for line in text.split("\n"))


def loosened(text: str) -> str:
    return squeezed(text).replace(" (", "(").replace(" )", ")").replace(" }", "}").replace(" ]", "]")


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_left(name: str) -> None:
    typed, plain = PAIRS[name]
    found = strip(typed)
    assert loosened(found) == loosened(plain)
    assert found.count("\n") == typed.count("\n")


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_left_compiles(name: str) -> None:
    assert compiles(strip(PAIRS[name][0])) is None


@pytest.mark.parametrize("form", TYPES)
def test_every_type(form: str) -> None:
    for typed, plain in {
        f"local x: {form} = 1": "local x = 1",
        f"local x: {form}\nlocal y = 1": "local x\nlocal y = 1",
        f"type T = {form}\nlocal y = 1": "\nlocal y = 1",
        f"local function f(a: {form}, b: {form}) end": "local function f(a, b) end",
        f"return x as {form}": "return x",
        f"return (x :: {form}):m()": "return (x):m()",
        f"local x: A<{form}, {form}>= y": "local x = y",
        f"local x: {{a: {form}, b: {{{form}}}}} = {{}}": "local x = {}",
    }.items():
        found = strip(typed)
        assert found.count("\n") == typed.count("\n")
        assert compiles(found) is None, found
        if "\n" not in form:
            assert loosened(found) == loosened(plain)


def test_columns_stay() -> None:
    typed = "local a: {e: 'ü'}, b: T = f(x) as T, c(d) + 1"
    found = strip(typed)
    assert len(found) == len(typed)
    assert found.index("c(d)") == typed.index("c(d)")
    assert found.index("(f(x)") == typed.index("f(x)")


PLAIN = """
local t <const>, u = {a = 1, ["b"] = 2; 3}, #arg
::again::
for i = 1, 10 do if i > 5 and i < 7 then goto again end end
function t.m:n(...) return select("#", ...), self:x 'y', self:x {1}, self:x[[z]] end
local s = "a: b as c! :: d" -- as T! x: T
local type, as, is, interface, fun = type, 1, 2, 3, 4
x = type
T = y
local l = [==[ a: T ]==] .. 'x\\z
    y: T' .. 1 .. 0x1p4 .. 3. .. .5e-3
return a.b.c[d]:e(f)(g) // 2 >> 1 ~= ~5, a:type(), b.as, {type = type, as = as}
"""


def test_plain_sources_come_back_as_they_are() -> None:
    assert strip(PLAIN) == PLAIN
    assert compiles(PLAIN) is None
    untyped = 'local json = require("json")\nreturn function(b) return json.decode(b) < 1, log:info("x") end\n'
    assert strip(untyped) is untyped


BROKEN = [
    "local x: ", "local x: {a", "type T = ", "x = y as (T", "interface I function m(", "f::<T", "local x: (",
    "local x: " + "{" * 5000, "x = y as " + "(" * 5000, "local x: " + "() -> (" * 5000, "local x: " + "A<" * 5000,
    "x = y as " + "A<" * 5000, '"' + "x: T", "--[[ x: T", "x = [[ y: T", ")" * 9, "function f(a: T", "!", "::", "as",
    "x = " + "(" * 100000 + "!", "local x: T @", "local x: T @m(", "type T<", "local x: A extends B", "local x: a.",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BROKEN)))
def test_broken_sources_end_somehow(number: int) -> None:
    strip(BROKEN[number])


@pytest.mark.parametrize(
    "part",
    [
        "[[ ",
        "--[[ ",
        "function ",
        "local a, ",
        '"\\z   ',
        "x as A<( ",
        "x as A<{",
        "(",
        "x as (",
        "type T = ",
        "a! ",
        ")",
        "a :: b ",
    ],
)
def test_hostile_sources_end_soon(part: str) -> None:
    strip("!" + part * (200_000 // len(part)))


pytestmark = pytest.mark.anyio

SCRIPT = """
type Task = {id: string, tags: {string}}
interface Sink
  function put(task: Task): boolean
end
local lib: {add: (number, number) -> number} = require("lib")

local function double<T: number>(x: T): T
  return lib.add(x, x) as T
end

local function handle(task: Task): (number, string?)
  if task.fail then
    error("no")
  end
  return (double(#task.tags)!) as number, nil
end

return {handle = handle}
"""
LIBRARY = "local M = {}\nfunction M.add(a: number, b: number): number\n return a + b\nend\nreturn M"


async def test_typed_scripts_and_libraries_run() -> None:
    library = LuaLibrary("app:lib", LuaSource(LIBRARY, "lib.lua"))
    made = handler(SCRIPT, imports={"lib": library})
    assert await made.call([{"tags": ["a", "b"]}], delivery()) == 4
    with pytest.raises(LuaError, match=r"^script\.lua:14: no$"):
        await made.handle({"tags": [], "fail": True}, delivery())


async def test_a_syntax_error_shows_its_line() -> None:
    made = handler("local a: number = 1\nlocal b: T =\nreturn function() end end")
    with pytest.raises(LuaSyntaxError, match=r"script\.lua:3: "):
        await made.start()
