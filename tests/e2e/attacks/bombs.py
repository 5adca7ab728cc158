"""Attempts to use up the worker: its time, its memory, its stack, its patience with values."""

# A row of the table is a line.
# ruff: noqa: E501

from __future__ import annotations

from typing import Any

from tests.e2e.attacks.attack import Attack
from tests.e2e.attacks.attack import cpu as _cpu
from tests.e2e.attacks.attack import either as _any
from tests.e2e.attacks.attack import ram as _ram

_SPIN = "function() while true do end end"


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _cycle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


BOMBS = [
    # Time ----------------------------------------------------------------------------------------------------------------
    _cpu("loop", "an endless loop", "while true do end"),
    _cpu("goto", "a loop by goto", "::again:: goto again"),
    _cpu("for", "a loop to 10^18", "for i = 1, 1e18 do end"),
    _cpu("iterator", "an iterator that never ends", "for _ in function() return 1 end do end"),
    _cpu("pcall", "an endless loop inside pcall", "while true do pcall(function() while true do end end) end"),
    _cpu("pcall storm", "millions of empty pcalls", "while true do pcall(function() end) end"),
    _cpu("pcall recursion", "recover from every overflow", "local function f() pcall(f) return f() end f()"),
    _cpu("pcall tree", "a tree of pcalls", "local function f() pcall(f) pcall(f) end while true do f() end"),
    _cpu("error handler", "an endless message handler", f"xpcall(error, {_SPIN})"),
    Attack("error in error handler", "a handler that fails itself", "xpcall(error, function() error('x') end)", "script.lua:4: x"),
    _cpu("tail calls", "endless tail calls", "local function f() return f() end return f()"),
    _cpu("ping pong", "two functions that call each other", "local g local function f() return g() end g = f f()"),
    _cpu("__close", "a close handler that never ends", f"local x <close> = setmetatable({{}}, {{__close = {_SPIN}}})"),
    _cpu("__close after an error", "the same while unwinding", f"local x <close> = setmetatable({{}}, {{__close = {_SPIN}}}) error('x')"),
    _cpu("__close of many", "handlers that never end, outside of the coroutine that was ended", "local function f(n) local x <close> = setmetatable({}, {__close = function() while true do ('a'):rep(1e5):byte(1, 9e4) end end}) if n > 0 then f(n - 1) else coroutine.wrap(function() while true do end end)() end end pcall(f, 150)"),
    _cpu("__index", "a lookup that never ends", f"return setmetatable({{}}, {{__index = {_SPIN}}}).x"),
    _cpu("__newindex", "an assignment that never ends", f"setmetatable({{}}, {{__newindex = {_SPIN}}}).x = 1"),
    _cpu("__eq", "a comparison that never ends", f"local m = {{__eq = {_SPIN}}} return setmetatable({{}}, m) == setmetatable({{}}, m)"),
    _cpu("__lt", "an order that never ends", f"local m = {{__lt = {_SPIN}}} return setmetatable({{}}, m) < setmetatable({{}}, m)"),
    _cpu("__concat", "a join that never ends", f"return setmetatable({{}}, {{__concat = {_SPIN}}}) .. 'x'"),
    _cpu("__len", "a length that never ends", f"return #setmetatable({{}}, {{__len = {_SPIN}}})"),
    _cpu("__call", "a call that never ends", f"return setmetatable({{}}, {{__call = {_SPIN}}})()"),
    _cpu("__unm", "a minus that never ends", f"return -setmetatable({{}}, {{__unm = {_SPIN}}})"),
    _cpu("__tostring", "a text that never ends", f"return tostring(setmetatable({{}}, {{__tostring = {_SPIN}}}))"),
    _cpu("__tostring in print", "the same while logging", f"print(setmetatable({{}}, {{__tostring = {_SPIN}}})) while true do end"),
    # Coroutines ----------------------------------------------------------------------------------------------------------
    _cpu("coroutine", "an endless coroutine", f"coroutine.wrap({_SPIN})()"),
    _cpu("coroutine storm", "coroutines without end", "while true do coroutine.wrap(function() end)() end"),
    _cpu("coroutine caught", "errors of coroutines ignored", f"while true do coroutine.resume(coroutine.create({_SPIN})) end"),
    _cpu("coroutine yields", "yields without end", "local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end"),
    _cpu("coroutine in pcall", "pcall around yields", "local co = coroutine.create(function() while true do pcall(coroutine.yield) end end) while true do coroutine.resume(co) end"),
    _ram("coroutines kept", "coroutines that stay", "while true do kept[#kept + 1] = coroutine.create(print) end"),
    Attack("coroutines nested", "a coroutine in a coroutine in a …", "local function f() return coroutine.wrap(f)() end f()", "C stack overflow"),
    _cpu("spawned", "a coroutine beside the handler that never ends", f"coroutine.spawn({_SPIN}) time.sleep('1h')"),
    _cpu("spawned in pcall", "the same, caught", f"coroutine.spawn(function() while true do pcall({_SPIN}) end end) time.sleep('1h')"),
    _cpu("spawn storm", "coroutines beside the handler, without end", "while true do coroutine.spawn(function() end) coroutine.yield() end"),
    _any("spawned and kept", "coroutines that wait forever", "while true do coroutine.spawn(function() channel.new():receive() end) end", placed=False),
    _any("spawn tree", "coroutines that spawn two each", "local function f() coroutine.spawn(f) coroutine.spawn(f) coroutine.yield() end f() time.sleep('1h')", placed=False),
    _cpu("channel ping pong", "two that talk forever", "local c = channel.new() coroutine.spawn(function() while true do c:send(1) end end) while true do c:receive() end"),
    _cpu("timer storm", "timers without end", "while true do time.after('1h') end"),
    Attack("sleep that wraps", "a duration beyond 64 bits", "assert(not select(2, time.sleep('999999999h')), 'refused')", "refused"),
    Attack("tickers beyond what may be under way", "more operations than one call may have", "for i = 1, 10050 do time.ticker('1h') end", "", ("", "time")),
    _any("ticker storm", "tickers without end", "while true do time.ticker('1h') end", placed=False),
    Attack("futures without end", "calls beside the handler, without end", "local e repeat local f, err = funcs.async('app:none') e = err until e error(e:message())", "no handler registered for target"),
    _cpu("finalizer by freeze", "a __gc that freeze would take over, and that never ends", f"local m = {{}} for i = 1, 100 do local t = setmetatable({{}}, m) m.__gc = {_SPIN} table.freeze(t) m.__gc = nil end while true do local t = {{}} end"),
    _cpu("timers stopped", "timers that are stopped at once, without end", "while true do time.timer('1h'):stop() end"),
    _cpu("timers reset", "a timer that is reset without end", "local t = time.timer('1h') while true do t:reset('2h') end"),
    # Calls ---------------------------------------------------------------------------------------------------------------
    Attack("call of itself", "a function that calls itself", "local answer, err = funcs.call('app:script', body) if err then error(err:message(), 0) end", "calls are nested deeper than 32 levels"),
    _cpu("calls without end", "a function that calls itself repeatedly", "while true do funcs.call('app:script', body) end"),
    _cpu("calls that compute", "each level has its own limit", "for i = 1, 1e6 do end while true do funcs.call('app:script', body) for i = 1, 1e5 do end end"),
    _cpu("calls beside it", "the same with futures", "while true do local f = funcs.async('app:script', body) if f then f:response():receive() end end"),
    # Callbacks of C functions --------------------------------------------------------------------------------------------
    _cpu("sort callback", "an order that never answers", f"table.sort({{3, 1, 2}}, {_SPIN})"),
    _cpu("sort storm", "sorting repeatedly", "local t = {} for i = 1, 1e4 do t[i] = -i end while true do table.sort(t) end"),
    Attack("sort without order", "an order that contradicts itself", "local t = {} for i = 1, 1e3 do t[i] = i % 7 end table.sort(t, function() return true end)", "invalid order function"),
    _cpu("gsub callback", "a replacement that never answers", f"('abc'):gsub('.', {_SPIN})"),
    _cpu("gsub table", "a replacement table with a hostile lookup", f"('abc'):gsub('.', setmetatable({{}}, {{__index = {_SPIN}}}))"),
    _cpu("gmatch", "a search without end", "while true do for _ in ('a'):rep(1e4):gmatch('.') do end end"),
    # Patterns ------------------------------------------------------------------------------------------------------------
    _cpu("pattern, exponential", "a hopeless pattern", "local at = ('a'):rep(30):find(('a?'):rep(30) .. ('a'):rep(30) .. 'b') return at"),
    _cpu("pattern, quadratic", "a lazy pattern on a long text", "return (('a'):rep(1e6):find('a-b'))"),
    _cpu("pattern, balanced", "%b on open brackets", "return (('('):rep(1e6):find('%b()'))"),
    _cpu("pattern, cubic", "nested repetitions", "return (('a'):rep(3e4):find('.-.-.-b'))"),
    _cpu("pattern, gsub", "a quadratic replacement", "return (('a'):rep(1e6):gsub('a-b', ''))"),
    _cpu("pattern, frontier", "frontiers on a long text", "while true do (('a '):rep(1e5)):gsub('%f[%w]%w+', '') end"),
    _cpu("plain find", "a long text that nearly stands everywhere", "return (('a'):rep(2e6):find(('a'):rep(1e6) .. 'b', 1, true))"),
    _cpu("pattern, long set", "a set of 62,000 characters", "local s, p = ('b'):rep(1e4), '[' .. ('a'):rep(62000) .. ']' while true do s:find(p) end"),
    _cpu("pattern, anchored back reference", "a capture that is compared at each place", "return (('a'):rep(4e6):find('^(a*).-%1b'))"),
    _cpu("pattern, back reference to much", "the same without a lazy part", "local s = ('a'):rep(2e6) while true do s:find('^(a*)%1b') end"),
    Attack("pattern, malformed", "a pattern that does not end", "('x'):find('[a')", "malformed pattern"),
    Attack("pattern, captures", "more captures than there are", "('x'):find(('()'):rep(40))", "too many captures"),
    Attack("pattern, back reference", "a capture that is not there", "('x'):find('%9')", "invalid capture index"),
    # Texts ---------------------------------------------------------------------------------------------------------------
    _ram("rep", "a text of a gigabyte", "local s = ('a'):rep(1e9) return s"),
    Attack("rep of nothing", "10^15 times nothing", "return (''):rep(1e15) .. (''):rep('1000000000000000')"),
    Attack("rep beyond all", "a text of 2^62 bytes", "return ('ab'):rep(2^62 // 1 | 0)", "resulting string too large"),
    Attack("rep with separator", "a long separator", "return ('a'):rep(1e5, ('b'):rep(1e5))", "resulting string too large"),
    _ram("double", "a text that doubles", "local s = 'x' while true do s = s .. s end"),
    _cpu("compare", "long texts that are alike", "local a = ('a'):rep(6e6) local b = a .. 'b' a = a .. 'a' for i = 1, 3000 do end while true do local x = a < b end"),
    _cpu("join at the brim", "each step collects all that there is", "local s = ('x'):rep(6e6) for i = 1, 9e4 do kept[i] = {i} end while true do local x = s .. 'y' end"),
    _ram("gsub grows", "a replacement that grows", "return (('a'):rep(1e5):gsub('a', ('b'):rep(1e4)))"),
    _ram("concat grows", "table.concat of long texts", "local t = {} for i = 1, 1e4 do t[i] = ('x'):rep(1e4) .. i end return table.concat(t)"),
    _ram("pack", "string.pack of a gigabyte", "local s = string.pack('c1000000000', 'x') return s"),
    Attack("format width", "a width of 99999", "return ('%99999d'):format(1)", "invalid conversion"),
    _cpu("text as a number", "a sum with a text of 6 MB", "local s = ('1'):rep(6e6) while true do local x = s + 0 end"),
    _cpu("minus a text", "the same with a sign", "local s = ('1'):rep(6e6) while true do local x = -s end"),
    _cpu("tonumber storm", "a number of 6 MB", "local s = ('1'):rep(6e6) while true do tonumber(s) end"),
    _cpu("sub storm", "nearly all of a long text", "local s = ('a'):rep(6e6) for i = 1, 1e5 do end while true do s:sub(2) end"),
    _cpu("pack storm", "a long text packed", "local s = ('a'):rep(3e6) for i = 1, 1e5 do end while true do string.pack('z', s) end"),
    _any("format storm", "a long text quoted", "local s = ('a'):rep(3e6) for i = 1, 1e5 do end while true do ('%q'):format(s) end"),
    _cpu("join storm", "a long text joined", "local s = ('a'):rep(3e6) for i = 1, 1e5 do end while true do local x = s .. 'b' end"),
    _cpu("join storm in a coroutine", "the same long after the last check of the hook", "local co = coroutine.wrap(function(s) for i = 1, 1e5 do end s = coroutine.yield() while true do local x = s < s .. 'b' end end) co() co(('a'):rep(3e6))"),
    _cpu("sort of long texts", "comparisons that take long, in one call", "local t, a = {}, ('a'):rep(1e6) local b = a .. 'b' for i = 1, 1e5 do t[i] = i % 2 == 0 and a or b end table.sort(t)"),
    _cpu("rep that wraps", "2^62 times two bytes are none", "while true do pcall(string.rep, 'ab', 1 << 62) end"),
    _any("rep storm", "long texts repeatedly", "while true do local s = ('a'):rep(1e7) end"),
    _cpu("upper storm", "work on a long text", "local s = ('a'):rep(5e6) while true do s:upper() end"),
    _cpu("byte storm", "many bytes at once", "local s = ('a'):rep(5e6) while true do s:byte(1, 5000) end"),
    _cpu("base64 storm", "work of Python that fails each time", "local s = ('A'):rep(2e6) .. '!' while true do base64.decode(s) end"),
    _cpu("utf8 storm", "the place of a far character", "local s = ('a'):rep(7e6) for i = 1, 3000 do end while true do utf8.offset(s, 6900000) end"),
    _cpu("byte storm in a coroutine", "the same outside the hook's first check", "local s = ('a'):rep(1e6) coroutine.wrap(function() for i = 1, 1e4 do end while true do s:byte(1, 500000) end end)()"),
    # Tables --------------------------------------------------------------------------------------------------------------
    _ram("array", "an array without end", "for i = 1, 1e12 do kept[i] = i end"),
    _any("keys", "keys without end", "for i = 1, 1e12 do kept['k' .. i] = true end"),
    _ram("tables", "tables in tables", "local t = {} while true do t = {t} end"),
    _ram("closures", "closures without end", "while true do local x = {} kept[#kept + 1] = function() return x end end"),
    Attack("unpack", "unpack 10^8 values", "return table.unpack({}, 1, 1e8)", "too many results to unpack"),
    Attack("unpack far", "unpack to 2^63", "return table.unpack({}, 1, math.maxinteger)", "too many results to unpack"),
    _cpu("insert", "insert at the front of a long table", "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.insert(t, 1, 1) table.remove(t) end"),
    _cpu("insert far away", "a charge below zero", "while true do pcall(table.insert, {}, 1e300, 1) end"),
    _cpu("concat of no number", "a charge that is no number", "while true do pcall(table.concat, {}, '', 0/0, 1) end"),
    _cpu("unpack by __sub", "a charge that the script works out", "local m = setmetatable({}, {__sub = function() return -1e300 end}) while true do pcall(table.unpack, {}, m, m) pcall(table.concat, {}, '', m, 1) end"),
    Attack("concat by __len", "a length of 10^12", "table.concat(setmetatable({}, {__len = function() return 1e12 end}))", "__len metamethod"),
    Attack("sort by __len", "the same for sort", "table.sort(setmetatable({}, {__len = function() return 1e12 end}))", "__len metamethod"),
    Attack("table.create", "room for 10^9 entries", "table.create(1e9, 1e9)"),
    Attack("freeze a protected table", "lose the contents on the way", "local t = setmetatable({a = 1}, {__metatable = false}) local ok, e = pcall(table.freeze, t) assert(t.a == 1) error(e, 0)", "protected metatable"),
    # Recursion -----------------------------------------------------------------------------------------------------------
    Attack("recursion", "a function without end", "local function f(n) return 1 + f(n + 1) end f(1)", "", ("memory", ""), placed=False),
    Attack("recursion by __index", "a lookup in itself", "return setmetatable({}, {__index = function(t, k) return t[k] end}).x", "stack overflow"),
    Attack("index loop", "a chain of __index in a circle", "local t = {} setmetatable(t, {__index = t}) return t.x", "possible loop"),
    Attack("recursion by __tostring", "a text of itself", "local t = {} setmetatable(t, {__tostring = function(x) return tostring(x) end}) tostring(t)", "", ("memory", ""), placed=False),
    Attack("pcall depth", "pcalls in pcalls", "local function f() local ok, e = pcall(f) if not ok then error(e, 0) end end f()", "pcall nested too deep"),
    # Errors --------------------------------------------------------------------------------------------------------------
    Attack("error of 4 MB", "a huge error message", "error(('x'):rep(4e6))", "(cut)"),
    Attack("returned error of 4 MB", "the same, returned", "return nil, ('x'):rep(4e6)", "(cut)"),
    Attack("error with a hostile text", "an error object that never says its text", f"error(setmetatable({{}}, {{__tostring = {_SPIN}}}))", "table value"),
    Attack("error nil", "an error without anything", "error(nil)", "nil"),
    Attack("error of a coroutine", "a thread as an error", "error(coroutine.create(print))", "thread"),
    Attack("error with a cycle", "an error table that holds itself", "local t = {} t.t = t error(t)", "table value"),
    # Results: Lua to Python ----------------------------------------------------------------------------------------------
    Attack("result cycle", "a result that holds itself", "local t = {} t.t = t return t", "refers to itself"),
    Attack("result deep", "a result 1,000 levels deep", "local t = {} for i = 1, 1000 do t = {t} end return t", "nested too deep"),
    Attack("result wide", "a result of a million values", "local t = {} for i = 1, 5e5 do t[i] = i end return t", "250000 parts"),
    Attack("result far", "an array whose last index is 10^9", "return {[1000000000] = 1}"),
    Attack("result of one text", "2,000 times a text of a megabyte", "local s, t = ('x'):rep(1e6), {} for i = 1, 2000 do t[i] = s end return t", "bytes of text"),
    Attack("publish of one text", "the same, published", "local s, t = ('x'):rep(1e6), {} for i = 1, 2000 do t[i] = s end local ok, err = queue.publish('app:q', t) error(err:message(), 0)", "bytes of text"),
    Attack("json of one text", "the same as JSON", "local s, t = ('x'):rep(1e6), {} for i = 1, 2000 do t[i] = s end local ok, err = json.encode(t) error(err:message(), 0)", "bytes of text"),
    Attack("log of one text", "the same, logged", "local s, t = ('x'):rep(1e6), {} for i = 1, 2000 do t['k' .. i] = s end logger:info('x', t)"),
    Attack("call with one text", "the same, given to a function", "local s, t = ('x'):rep(1e6), {} for i = 1, 2000 do t[i] = s end local ok, err = funcs.call('app:none', t) error(err:message(), 0)", "bytes of text"),
    Attack("result doubled", "2^60 values by sharing", "local t = {1} for i = 1, 60 do t = {t, t} end return t", "250000 parts"),
    Attack(
        "result metatable",
        "metamethods that would run while it is read",
        f"return setmetatable({{a = 1}}, {{__index = {_SPIN}, __pairs = {_SPIN}, __len = {_SPIN}, __tostring = {_SPIN}}})",
    ),
    Attack("result of bytes", "a text that is not Unicode", r"return ('\xff\xfe'):rep(1e5)"),
    Attack("publish cycle", "a body that holds itself", "local t = {} t.t = t assert(queue.publish('a:b', t))", "recursively nested"),
    Attack("publish wide", "a body of 2^60 values", "local t = {1} for i = 1, 60 do t = {t, t} end assert(queue.publish('a:b', t))", "parts", ("", "time")),
    Attack(
        "publish metatable",
        "metamethods that would run while it is sent",
        f"queue.publish('a:b', setmetatable({{a = 1}}, {{__index = {_SPIN}, __pairs = {_SPIN}, __len = {_SPIN}}}))",
    ),
    # Bodies: Python to Lua -----------------------------------------------------------------------------------------------
    Attack("body deep", "a body 50,000 levels deep", "return 1", "nested deeper than 128 levels", body=lambda: _nested(50_000)),
    Attack("body cycle", "a body that holds itself", "return 1", "nested deeper than 128 levels", body=_cycle),
    Attack("body number", "a number beyond 64 bits", "return 1", "beyond 64 bits", body=lambda: {"n": 10**1000}),
    Attack("body text", "a text with half a surrogate", "return 1", "not valid Unicode", body=lambda: {"t": "\ud800"}),
    Attack("body object", "a Python object as a body", "return 1", "object", body=lambda: {"o": object()}),
    _ram("body of 34 MB", "a body larger than the memory", "local s = body.t .. 'x' return #s", body=lambda: {"t": "x" * 34_000_000}, placed=False),
    # JSON ----------------------------------------------------------------------------------------------------------------
    Attack("json deep", "JSON 100,000 levels deep", "assert(json.decode(('['):rep(100000)))", "maximum nesting depth"),
    Attack("json encode deep", "a table 10^5 levels deep", "local t = {} for i = 1, 1e5 do t = {t} end assert(json.encode(t))", "maximum nesting"),
    Attack("json encode wide", "2^60 values as JSON", "local t = {1} for i = 1, 60 do t = {t, t} end assert(json.encode(t))", "250000 parts"),
    Attack("json number", "a number of 10^6 digits", "if json.decode(('9'):rep(1e6)) ~= math.maxinteger then error('?') end"),
    Attack("json storm", "JSON of kilobytes, repeatedly", "local s = '[' .. ('1,'):rep(2e4) .. '1]' while true do json.decode(s) end", "script.lua:", ("time", "memory")),
    Attack("yaml tag", "an object of Python", "assert(payload.new('!!python/object/apply:os.system [\"touch canary\"]'):transcode('text/plain'):transcode('yaml/plain'):data())", "could not determine a constructor"),
    Attack("yaml cycle", "an alias within itself", "assert(payload.new('&a [*a]'):transcode('text/plain'):transcode('yaml/plain'):data())", "maximum nesting depth"),
    Attack("yaml to the base of 60", "a number that takes quadratic time", "local y = '1' .. (':1'):rep(3e4) return payload.new(y):transcode('text/plain'):transcode('yaml/plain'):data() == y"),
    Attack("yaml aliases", "a text of a kilobyte for 2^40 values", "local y = 'a0: &a0 [x, x]' for i = 1, 40 do y = y .. ('\\na%d: &a%d [*a%d, *a%d]'):format(i, i, i - 1, i - 1) end assert(payload.new(y):transcode('text/plain'):transcode('yaml/plain'):data())", "250000 parts"),
    Attack("json of many parts", "a text of 9 MB for 3 million tables", "assert(json.decode('[' .. ('[],'):rep(3e6) .. '1]'))", "250000 parts"),
    # While the script loads --------------------------------------------------------------------------------------------
    _cpu("load loop", "an endless top level", "while true do end", whole=True),
    _ram("load memory", "a top level that fills the memory", "local t = {} while true do t[#t + 1] = {} end", whole=True),
    Attack("load nesting", "source nested 10,000 deep", "return " + "(" * 10_000 + "1" + ")" * 10_000, "C stack overflow", whole=True),
    Attack("load locals", "more locals than there may be", "local " + ",".join(f"a{n}" for n in range(300)), "too many local", whole=True),
    _ram("load literal", "a literal of 12 MB", 'return "' + "x" * 12_000_000 + '"', whole=True),
    Attack("load unfinished", "a string that does not end", "return 'x", "script.lua:1:", whole=True),
    _cpu("load pcall", "an endless top level inside pcall", "while true do pcall(function() while true do end end) end", whole=True),
    # Memory that stays --------------------------------------------------------------------------------------------------
    _ram("kept", "memory kept from message to message", "while true do kept[#kept + 1] = {} end"),
    _ram("kept after pcall", "the same after catching the error", "pcall(function() while true do kept[#kept + 1] = {} end end) while true do kept[#kept + 1] = {} end"),
    Attack("log storm", "records without end", "while true do logger.info(('x'):rep(1000)) end", "script.lua:", ("time", "memory")),
]  # fmt: skip
