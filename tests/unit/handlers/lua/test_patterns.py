"""The matcher written in Lua gives what the C matcher gives."""

from __future__ import annotations

import pytest

from tasuki.errors import LuaError
from tasuki.handlers.lua.host import runtime
from tasuki.handlers.lua.host.runtime import _text
from tests.unit.handlers.lua.support import run

pytestmark = pytest.mark.anyio

SLOW = _text("text/patterns").replace("2e7", "-1")
"""patterns.lua with a threshold that sends everything to the Lua matcher."""

CASES = [
    ("hello world", "o w"),
    ("hello world", "(h)(.)(%1)"),
    ("hello world", "l+"),
    ("hello world", "(l+)(.-)(d)"),
    ("hello world", "^hello"),
    ("hello world", "^world"),
    ("hello world", "world$"),
    ("hello world", "hello$"),
    ("hello world", "()ll()"),
    ("hello world", "(.-)%s(.*)"),
    ("  trim me  ", "^%s*(.-)%s*$"),
    ("key = value", "^(%w+)%s*=%s*(%w+)$"),
    ("a,b,,c", "([^,]*)"),
    ("2024-01-02", "(%d+)-(%d+)-(%d+)"),
    ("f(a(b)c)d", "%b()"),
    ("f(a(b c", "%b()"),
    ("THE (quick) fox", "%f[%a]%a+%f[%A]"),
    ("abab", "(a)(b)%1%2"),
    ("aaa", "a-"),
    ("aaa", "a-$"),
    ("aaa", "a?a?a?a?"),
    ("", ""),
    ("", "^$"),
    ("abc", ""),
    ("x", "[]]"),
    ("a]b", "[^]]+"),
    ("a-z", "[a%-z]+"),
    ("a.b", "%."),
    ("a+b*c?", "[%+%*%?]"),
    ("\x00\x01", "%c+"),
    ("äöü", "[\x80-\xff]+"),
    ("$5", "$5"),
    ("a^b", "a^b"),
    ("((x))", "((%(+)x)"),
    ("one two", "(%a+) (%a+)"),
    ("aXb", "%u"),
    ("abc123", "%a*%d*"),
    ("no match", "zzz"),
    ("ab", "(a)()(b)"),
]

COMPARE = """
local text, pattern = body[1], body[2]
local function all(...) return {n = select('#', ...), ...} end
local out = {}
out[1] = all(string.find(text, pattern))
out[2] = all(string.match(text, pattern))
out[3] = all(string.find(text, pattern, 3))
out[4] = all(string.match(text, pattern, -2))
out[5] = all(string.gsub(text, pattern, "<%0>"))
out[6] = all(string.gsub(text, pattern, "%%", 1))
out[7] = all(string.gsub(text, pattern, function(a) return tostring(a) .. "!" end))
out[8] = all(string.gsub(text, pattern, {h = "H", o = false}))
out[9] = all(string.gsub(text, pattern, function() end))
local list = {}
for a, b in string.gmatch(text, pattern) do list[#list + 1] = tostring(a) .. "|" .. tostring(b) end
out[10] = list
out[11] = all(string.match(text, pattern, 100))
out[12] = all(string.match(text, pattern, -100))
return json.encode({table.concat({json.encode(out[10]), ""}), (function() local s = {} for i = 1, 12 do
  if i ~= 10 then for k = 1, out[i].n do s[#s + 1] = i .. ":" .. tostring(out[i][k]) end end end return s end)()})
"""


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_text", lambda name: SLOW if name == "text/patterns" else _text(name))


@pytest.mark.parametrize(("text", "pattern"), CASES)
async def test_it_matches_like_c(text: str, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = await run(COMPARE, [text.encode("latin-1"), pattern.encode("latin-1")])
    monkeypatch.setattr(runtime, "_text", lambda name: SLOW if name == "text/patterns" else _text(name))
    assert await run(COMPARE, [text.encode("latin-1"), pattern.encode("latin-1")]) == fast


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("('x'):find('[a')", "malformed pattern (missing ']')"),
        ("('x'):find('x%')", "malformed pattern (ends with '%')"),
        ("('x'):find('%b')", "missing arguments to '%b'"),
        ("('x'):find('%f')", "missing '[' after '%f'"),
        ("('x'):find('(x')", "unfinished capture"),
        ("('x'):find('x)')", "invalid pattern capture"),
        ("('x'):find('%1')", "invalid capture index %1"),
        ("('x'):gsub('x', '%2')", "invalid capture index %2 in replacement string"),
        ("('x'):gsub('x', '%z')", "invalid use of '%' in replacement string"),
        ("('x'):gsub('x', function() return {} end)", "invalid replacement value (a table)"),
        ("('x'):gsub('x', true)", "bad argument #3 to 'gsub'"),
    ],
)
async def test_it_complains_like_c(code: str, message: str) -> None:
    with pytest.raises(LuaError) as raised:
        await run(code)
    assert message in str(raised.value)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("call", ["find('[a')", "match('[a')", "gmatch('[a')", "gsub('[a', '')"])
async def test_a_malformed_pattern_names_the_line_of_its_call(call: str) -> None:
    code = f"local function seek()\n local found = ('x'):{call}\n return found end\n local found = seek() return found"
    with pytest.raises(LuaError, match=r"^script\.lua:2: malformed pattern"):
        await run(code)


@pytest.mark.usefixtures("slow")
async def test_host_calls_work_inside_a_replacement_of_the_lua_matcher() -> None:
    code = "return (('abc'):gsub('.', function(c) time.sleep(0) return c:upper() end))"
    assert await run(code) == "ABC"


async def test_large_honest_texts_are_matched() -> None:
    text = "  " + "word " * 20_000
    assert await run("return #body:match('^%s*(.-)%s*$')", text) == len(text.strip())
    assert await run("return (select(2, body:gsub('%s+', ' ')))", text) == 20_001
    assert await run("local n = 0 for w in body:gmatch('%a+') do n = n + 1 end return n", text) == 20_000


async def test_error_objects_stand_for_their_text() -> None:
    code = "local e = errors.new('connection timeout') return {string.find(e, 'time'), string.match(e, '%a+')}"
    assert await run(code) == [12, "connection"]
    with pytest.raises(LuaError, match="bad argument #1 to 'find'"):
        await run("string.find({}, 'x')")


async def test_plain_find_is_never_slow() -> None:
    assert await run("return (('a'):rep(1e6) .. '-b'):find('-b', 1, true)") == 1_000_001


async def test_many_patterns_are_forgotten() -> None:
    assert await run("for i = 1, 1200 do string.find('x' .. i, 'x' .. i .. '%d?') end return 1") == 1


@pytest.mark.parametrize("init", [None, 1, 0, -5, -400, 20, 202, 300, 500])
async def test_a_long_plain_text_is_found_where_it_stands(init: int | None) -> None:
    text = "ab" * 100 + "X" + "c" * 100 + "X" + "c" * 60
    for wanted in ("X" + "c" * 90, "c" * 70, "c" * 64, "c" * 101, "ab" * 100, "ab" * 101, text, text + "d", "%" * 70):
        start = max(init + len(text), 0) if init and init < 0 else max((init or 0) - 1, 0)
        at = text.find(wanted, start)
        expected = [None] if at < 0 else [at + 1, at + len(wanted)]
        found = await run("local a, b = body:find(select(2, ...)) return {a, b}", text, wanted, init, True)
        assert (found or [None]) == expected, (wanted, init)


async def test_no_work_is_reckoned_less_than_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """That would put off the looks at the clock."""
    checked = "local assert = assert local function heed(n) assert(n >= 0) end "
    checked += "host = setmetatable({heed = heed}, {__index = host})\n"
    text = _text("text/patterns").replace("local host, guards = ...\n", "local host, guards = ...\n" + checked)
    assert checked in text
    monkeypatch.setattr(runtime, "_text", lambda name: text if name == "text/patterns" else _text(name))
    code = "for _, i in next, {1, -1, 99, math.maxinteger, math.mininteger} do %s end return 1"
    for wanted in ("'x'", "('x'):rep(70)"):
        assert await run(code % f"assert(not ('a'):rep(80):find({wanted}, i, true))") == 1


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("'a', nil", "3 3"),
        ("'+', -1", "4 4"),
        ("'+', 4", "4 4"),
        ("'+', '4'", "4 4"),
        ("'+', 99", "nil"),
        ("'', 5", "5 4"),
    ],
)
async def test_a_short_plain_text(given: str, found: str) -> None:
    code = "local t = table.pack(('++a+'):find(%s, true)) for i = 1, t.n do t[i] = tostring(t[i]) end"
    assert await run(f"{code % given} return table.concat(t, ' ')") == found


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("", "a"), ("2", "b"), ("1, 3", "abc"), ("-2, -1", "bc"), ("2, -1", "bc"), ("-3, 2", "ab"), ("0, 9", "abc"),
        ("3, 1", ""), ("2, 99", "bc"), ("-99, -2", "ab"), ("'2', 3.0", "bc"),
        ("math.mininteger, math.maxinteger", "abc"),
    ],
)  # fmt: skip
async def test_bytes_of_a_range(given: str, found: str) -> None:
    assert await run(f"return string.char(('abc'):byte({given}))") == found


async def test_what_is_no_text_or_number_is_told_as_ever() -> None:
    assert await run("return ('a'):rep(3, ','), nil") == "a,a,a"
    for code in ("(''):rep({})", "(''):rep()", "(''):rep('x')", "(''):rep(1.5)"):
        with pytest.raises(LuaError, match=r"^script\.lua:1: bad argument #2 to 'rep'"):
            await run(f"local made = {code}")
    assert await run("return (''):rep(5) .. (''):rep(2, '-') .. (''):rep(-1) .. (''):rep(1e15, '')") == "-"
