"""Attempts to make one step of the interpreter take long: no limit can end a step, only what surrounds it."""

# A row of the table is a line.
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.e2e.attacks.attack import Attack, cpu, either

_WARM = "for i = 1, 1e5 do end "
"""From then on the clock is read seldom."""
_DIGITS = "local s = ('0'):rep(1e6) .. '1' "
_MANY = _DIGITS + "local t = {} for i = 1, 5000 do t[i] = s end "
_WIDE = _WARM + "local t = {} for i = 1, 2e5 do t[i] = i end "
_YAML = "payload.new(s):transcode('text/plain'):transcode('yaml/plain'):data()"
_FAILING = 'local schema = \'{"anyOf":[{"properties":{"a":{"$ref":"#"}},"required":["b"]},{"properties":{"a":{"$ref":"#"}},"required":["c"]}]}\' '
_SCHEMA = 'local schema = \'{"allOf":[{"properties":{"a":{"$ref":"#"}}},{"properties":{"a":{"$ref":"#"}}}]}\' '


def _too_long(name: str, tries: str, code: str) -> Attack:
    return Attack(name, tries, code, "arguments have more than 16777216 bytes of text")


def _alike(count: int, distance: int) -> Callable[[], Any]:
    """Integer keys that share one place in a table of ``distance`` + 1 places."""
    return lambda: {number * distance: 1 for number in range(1, count + 1)}


HEAVY = [
    # Bodies and answers ------------------------------------------------------------------------------------------------
    Attack("body of alike keys", "70,000 integer keys that share one place", "return 1", "more than 1000 integer keys", body=_alike(70_000, 2**17 - 1)),
    Attack("body of alike keys, inside", "the same below a list", "return 1", "more than 1000 integer keys", body=lambda: [{"a": _alike(70_000, 2**17 - 1)()}]),
    Attack("body of alike keys below zero", "the same with negative ones", "return 1", "more than 1000 integer keys", body=_alike(70_000, 1 - 2**17)),
    Attack("body of many tables", "a million empty lists", "return 1", "", ("time", "memory", ""), body=lambda: [[] for _ in range(1_000_000)], placed=False),
    Attack("MessagePack of alike keys", "the same keys in a text that the script decodes", "assert(payload.new(body):transcode('application/octet-stream'):transcode('application/msgpack'):data())", "more than 1000 integer keys", body=lambda: _msgpack(_alike(70_000, 2**17 - 1)())),
    cpu("YAML at its bound", "the longest text of YAML there may be", f"local s = ('- 1\\n'):rep(16000) {_YAML} while true do end"),
    cpu("YAML of tables", "the same of small tables", f"local s = '[' .. ('{{a: 1}},'):rep(8000) .. ']' {_YAML} while true do end"),
    Attack("YAML beyond its bound", "a list of 300,000 items", f"local s = ('- 1\\n'):rep(3e5) local v, err = {_YAML} error(err:message(), 0)", "at most 65536 bytes"),
    cpu("YAML, a thousand deep", "brackets that the reader goes through", f"local s = ('['):rep(1000) .. (']'):rep(1000) {_YAML} while true do end"),
    cpu("JSON at its bound", "249,000 tables", "local s = '[' .. ('[],'):rep(249000) .. '1]' while true do json.decode(s) end"),
    cpu("JSON with a name many times", "the slow way of the decoder", "local s = '{' .. ('\"a\":1,'):rep(1e5) .. '\"b\":1}' while true do json.decode(s) end"),
    cpu("JSON of escapes", "a million escaped characters", "local s = '\"' .. ('\\\\u0041'):rep(1e6) .. '\"' while true do json.decode(s) end"),
    cpu("JSON of digits", "a number of seven million digits", "local s = ('1'):rep(7e6) while true do json.decode(s) end"),
    cpu("JSON of long numbers", "1,500 numbers of 4,000 digits", "local s = '[1' .. (',' .. ('1'):rep(4000)):rep(1500) .. ']' while true do json.decode(s) end"),
    cpu("JSON of fractions", "floats, repeatedly", "local t = {} for i = 1, 2e5 do t[i] = i + 0.5 end while true do json.encode(t) end"),
    Attack("schema that doubles", "a schema that refers to itself twice, for 16 levels", _SCHEMA + "local v = 1 for i = 1, 16 do v = {a = v} end return (json.validate(schema, v))"),
    cpu("schema of many properties", "50,000 patterns", "local t = {} for i = 1, 5e4 do t['p' .. i] = {type = 'string', pattern = '^[a-z]{1,100}$'} end json.validate({properties = t}, {a = 1}) while true do end"),
    cpu("schema of unique items", "30,000 tables compared", "local t = {} for i = 1, 3e4 do t[i] = {a = i} end while true do json.validate({uniqueItems = true}, t) end"),
    Attack("schema of nested repetitions", "a pattern of 800,000 states", "return (json.validate({pattern = '((a{1,200}){1,200}){1,20}'}, ('a'):rep(1e5)))"),
    # Replacements ------------------------------------------------------------------------------------------------------
    cpu("gsub with an empty capture", "2,000 times a replacement of eight megabytes that adds nothing", "('a'):rep(2000):gsub('(b?)', ('%1'):rep(4e6))"),
    cpu("gsub with an empty match", "the same with %0", "('a'):rep(2000):gsub('b?', ('%0'):rep(4e6))"),
    cpu("gsub with escapes", "the same with %%", "('a'):rep(2000):gsub('b?', ('%%'):rep(4e6))"),
    either("gsub that copies all", "a replacement that holds the text many times", "return (('a'):rep(2000):gsub('.*', ('%0'):rep(4e6)))"),
    cpu("gsub, small and often", "the same below the bound of one call", _WARM + "local s, r = ('a'):rep(300), ('%1'):rep(3e4) while true do s:gsub('(b?)', r) end"),
    # Numbers in texts --------------------------------------------------------------------------------------------------
    _too_long("string.char of texts", "5,000 texts of a megabyte as numbers", _MANY + "string.char(table.unpack(t))"),
    _too_long("utf8.char of texts", "the same", _MANY + "utf8.char(table.unpack(t))"),
    _too_long("math.max of texts", "the same", _MANY + "math.max(table.unpack(t))"),
    _too_long("math.min of texts", "the same", _MANY + "math.min(table.unpack(t))"),
    _too_long("pack of texts", "the same as floats", _MANY + "string.pack(('d'):rep(5000), table.unpack(t))"),
    _too_long("format of texts", "the same", _MANY + "string.format(('%d'):rep(5000), table.unpack(t))"),
    *(
        cpu(f"{name} of digits", "a number of a megabyte, repeatedly", f"{_WARM}{_DIGITS}while true do pcall({name}, {args}) end")
        for name, args in {
            "math.floor": "s", "math.sqrt": "s", "math.fmod": "s, s", "math.tointeger": "s", "math.random": "s", "math.log": "s", "math.abs": "s",
            "select": "s", "string.rep": "'a', s", "string.sub": "'abc', 1, s", "string.byte": "'abc', s, s", "string.find": "'abc', 'b', s",
            "string.match": "'abc', 'b', s", "string.char": "s", "string.unpack": "'B', 'a', s", "table.concat": "{}, '', s", "table.unpack": "{}, s, 1",
            "table.insert": "{}, s, 1", "table.remove": "{}, s", "utf8.char": "s", "utf8.offset": "'abc', s", "utf8.len": "'abc', s", "tonumber": "s, 10",
            "error": "'x', s",
        }.items()
    ),
    cpu("power of digits", "arithmetic on a text of a megabyte", _WARM + _DIGITS + "while true do local x = s ^ s end"),
    cpu("float of digits", "a number with an exponent and seven million digits", "local s = ('1'):rep(7e6) .. 'e1' while true do local x = s + 0 end"),
    # Many values at once -----------------------------------------------------------------------------------------------
    cpu("values passed on", "200,000 arguments, repeatedly", _WIDE + "local function g() end local function f(...) while true do g(...) end end f(table.unpack(t))"),
    cpu("values in a table", "{...} of 200,000, repeatedly", _WIDE + "local function f(...) while true do local x = {...} end end f(table.unpack(t))"),
    cpu("values selected", "the last of 200,000, repeatedly", _WIDE + "local function f(...) while true do local x = select(-1, ...) end end f(table.unpack(t))"),
    cpu("values counted", "select('#') of 200,000", _WIDE + "local function f(...) while true do local x = select('#', ...) end end f(table.unpack(t))"),
    cpu("values through pcall", "200,000 arguments and results", _WIDE + "local function f(...) while true do pcall(select, 1, ...) end end f(table.unpack(t))"),
    cpu("values yielded", "200,000 through a coroutine", _WIDE + "local co = coroutine.wrap(function(...) while true do coroutine.yield(...) end end) while true do co(table.unpack(t)) end"),
    cpu("values packed", "table.pack of 200,000", _WIDE + "while true do table.pack(table.unpack(t)) end"),
    cpu("values printed", "200,000 in one record", _WIDE + "while true do print(table.unpack(t)) end"),
    Attack("bytes of a text", "900,000 bytes as values", "return select('#', ('a'):rep(9e5):byte(1, 9e5))", "stack overflow"),
    Attack("unpack of a text", "900,000 results", "return (string.unpack(('B'):rep(9e5), ('a'):rep(9e5)))"),
    # Tables and collections --------------------------------------------------------------------------------------------
    cpu("weak keys in a chain", "60,000 tables, each kept by the one before", "local w, first = setmetatable({}, {__mode = 'k'}), {} local p = first for i = 1, 6e4 do local n = {} w[p] = n p = n end while true do local t = {{}} end"),
    cpu("weak keys backwards", "the same in the other order", "local w, ks = setmetatable({}, {__mode = 'k'}), {} for i = 1, 6e4 do ks[i] = {} end for i = 6e4, 2, -1 do w[ks[i]] = ks[i - 1] end local last = ks[60000] ks = nil while true do local t = {{}} end"),
    cpu("weak keys and values", "the same with both", "local w, ks = setmetatable({}, {__mode = 'kv'}), {} for i = 1, 6e4 do ks[i] = {} end for i = 6e4, 2, -1 do w[ks[i]] = ks[i - 1] end local last = ks[60000] ks = nil while true do local t = {{}} end"),
    cpu("empty table with room", "the first entry of a table that has lost all", _WARM + "local t = {} for i = 1, 5e4 do t['k' .. i] = i end for k in pairs(t) do t[k] = nil end while true do next(t) end"),
    cpu("highest key", "table.maxn of a long table", "local t = {} for i = 1, 2e5 do t[i] = i end while true do table.maxn(t) end"),
    cpu("equal texts", "texts that differ at their ends", _WARM + "local a = ('a'):rep(9e5) local b = a .. 'b' a = a .. 'c' while true do local x = a == b end"),
    cpu("sort by comparisons", "texts of zero bytes, in one call", _WARM + "local a = ('\\0'):rep(1e6) local b = a:sub(1, -2) .. '\\1' local t = {} for i = 1, 1e5 do t[i] = i % 2 == 0 and a or b end table.sort(t)"),
    either("stacks kept", "coroutines that have begun, each with its stack", "for i = 1, 1e6 do local co = coroutine.wrap(coroutine.yield) co() kept[i] = co end"),
    # Records, metrics, modules -----------------------------------------------------------------------------------------
    cpu("record of a huge text", "a record of seven megabytes, repeatedly", "local s = ('x'):rep(7e6) while true do print(s) end"),
    cpu("record of many fields", "100,000 fields, repeatedly", "local t = {} for i = 1, 1e5 do t['k' .. i] = i end while true do logger:info('x', t) end"),
    cpu("record, deep", "a table 10,000 levels deep, repeatedly", "local t = {} for i = 1, 1e4 do t = {t} end while true do logger:info('x', t) end"),
    cpu("metrics without end", "a name a call", "local i = 0 while true do i = i + 1 metrics.counter_inc('n' .. i) end"),
    cpu("metric of a huge name", "a name of seven megabytes", "local s = ('x'):rep(7e6) while true do pcall(metrics.counter_inc, s) end"),
    cpu("metric of huge labels", "other labels a call", "local i = 0 while true do i = i + 1 metrics.counter_inc('n', {a = ('x'):rep(1e5) .. i}) end"),
    cpu("digest of a long text", "seven megabytes, repeatedly", "local s = ('a'):rep(7e6) while true do hash.sha512(s) end"),
    cpu("duration of a long text", "six megabytes of units", "local s = ('1h'):rep(3e6) while true do pcall(time.parse_duration, s) end"),
    cpu("format of a time", "a layout of six megabytes", "local s = ('2006-01-02'):rep(6e5) while true do time.now():format(s) end"),
    cpu("time by its own layout", "a layout and a text of 600 KB", _WARM + "local s = ('2006-01-02'):rep(6e4) while true do time.parse(s, s) end"),
    cpu("id of a long text", "a UUID of seven megabytes", "local s = ('1'):rep(7e6) while true do uuid.validate(s) end"),
    cpu("setting of a long name", "a name of two megabytes", "local s = ('x'):rep(2e6) while true do pcall(env.get, s) end"),
    Attack("error, deep", "an error 100,000 levels deep", "local t = {} for i = 1, 1e5 do t = {t} end error(t)", "table value"),
    cpu("long keys", "a new key of 400 KB, repeatedly", _WARM + "local s, t = ('a'):rep(4e5), {} while true do local x = t[s .. 'b'] end"),
    cpu("long keys of pieces", "the same, with a text that only operators have made", _WARM + "local s, t = 'aaaa', {} while #s < 4e5 do s = s .. s end while true do local x = t[s .. 'b'] end"),
    # What no limit ends ------------------------------------------------------------------------------------------------
    cpu("alike keys", "integer keys that share one place in a table", "local t = {} for i = 1, 2^15 do t[i * (2^16 - 1) | 0] = 1 end t.x = 1 while true do end", open="a table that grows puts every key into its new place in one step, and these share one: 1.3 s for 32,768 keys, four times as long for twice as many"),
    cpu("zero bytes compared", "texts of seven megabytes of zero bytes", "local a = ('\\0'):rep(7e6) local b = a:sub(1, -2) .. '\\1' " + _WARM + "while true do local x = a < b end", open="a comparison reads each zero byte as the end of a text: 4 ms for a megabyte, 28 ms here, and the clock is read after fifty of them"),
    cpu("schema that doubles its reasons", "a schema that refers to itself twice and that 14 levels do not fit", _FAILING + "local v = 1 for i = 1, 14 do v = {a = v} end json.validate(schema, v) while true do end", open="the library checks each level twice as often as the one above, in one call: 1 s for 14 levels, a minute for 20"),
    cpu("limit of a loop in a text", "a loop to a number of a megabyte, repeatedly", "local s = ('0'):rep(1e6) " + _WARM + "while true do for i = 2, s do end end", open="the loop reads the text itself: 1 to 5 ms for a megabyte, and while the script uses little memory the clock is read after some thousands of them"),
    cpu("weak keys, later", "__mode set in a metatable that is in use", "local m = {} local w, ks = setmetatable({}, m), {} m.__mode = 'k' for i = 1, 6e4 do ks[i] = {} end for i = 6e4, 2, -1 do w[ks[i]] = ks[i - 1] end local last = ks[60000] ks = nil while true do local t = {{}} end", open="__mode has no effect in a metatable that is given to setmetatable; set afterwards it has, and a collection of such tables takes the square of their number"),
]  # fmt: skip


def _msgpack(value: Any) -> bytes:
    import msgspec

    return msgspec.msgpack.encode(value)
