"""Attempts to leave the sandbox: to the machine, to Python, to the host files, to other scripts."""

# A row of the table is a line.
# ruff: noqa: E501

from __future__ import annotations

from tests.e2e.attacks.attack import Attack

_IMMUTABLE = "attempt to modify Immutable table"


def _absent(name: str, tries: str, expression: str) -> Attack:
    return Attack(name, tries, f"if {expression} then return 'escaped' end")


ESCAPES = [
    # The machine ---------------------------------------------------------------------------------------------------------
    Attack(
        "io.open", "write a file", "io.open('canary', 'w'):write('x')", "attempt to index a nil value (global 'io')"
    ),
    Attack("io.popen", "run a shell", "io.popen('touch canary')", "attempt to index a nil value (global 'io')"),
    Attack("io.lines", "read /etc/passwd", "for l in io.lines('/etc/passwd') do return 'escaped' end", "'io'"),
    Attack("os.execute", "run a shell", "os.execute('touch canary')", "attempt to call a nil value (field 'execute')"),
    Attack("os.exit", "end the worker", "os.exit(0)", "attempt to call a nil value (field 'exit')"),
    Attack("os.getenv", "read the environment", "return os.getenv('PATH') and 'escaped'", "field 'getenv'"),
    Attack("os.remove", "delete a file", "os.remove('canary')", "attempt to call a nil value (field 'remove')"),
    Attack("os.rename", "move a file", "os.rename('a', 'canary')", "attempt to call a nil value (field 'rename')"),
    Attack("os.tmpname", "make a file", "os.tmpname()", "attempt to call a nil value (field 'tmpname')"),
    Attack("os.setlocale", "change the worker's locale", "os.setlocale('C')", "field 'setlocale'"),
    Attack("env of the process", "read a variable that was not passed", "return env.get('PATH') and 'escaped'"),
    Attack("dofile", "run a file", "dofile('/etc/passwd')", "attempt to call a nil value (global 'dofile')"),
    Attack("loadfile", "compile a file", "loadfile('/etc/passwd')", "attempt to call a nil value (global 'loadfile')"),
    Attack("package.loadlib", "load a C library", "package.loadlib('libc.so.6', 'system')", "global 'package'"),
    Attack("package.loaded", "find the real modules", "return package.loaded.io and 'escaped'", "global 'package'"),
    Attack("require io", "get a module of Lua's own", "require('io')", "module 'io' not found"),
    Attack("require ffi", "get LuaJIT's door to C", "require('ffi')", "module 'ffi' not found"),
    Attack("require a path", "load a file by its path", "require('/tmp/x.lua')", "not found"),
    Attack("require dots", "leave the folder", "require('../../secret')", "not found"),
    Attack("require a table", "an object as a module's name", "require({})", "script.lua:4:"),
    Attack("require a C module", "get lupa", "require('lupa')", "module 'lupa' not found"),
    # Code --------------------------------------------------------------------------------------------------------------------
    Attack("load bytecode", "crash the interpreter with bytecode", r"load('\27Lua\84\0')", "global 'load'"),
    Attack("load text", "compile with the real globals", "load('return io')()", "global 'load'"),
    Attack("loadstring", "the old name of load", "loadstring('return 1')()", "global 'loadstring'"),
    Attack("string.dump", "get bytecode to change", "string.dump(print)", "field 'dump'"),
    Attack("text method dump", "string.dump as a method", "(''):dump()", "method 'dump'"),
    Attack("bytecode as a script", "a script that is bytecode", "\x1bLua54", "binary chunk", whole=True),
    Attack("debug.getinfo", "look into the host", "debug.getinfo(1)", "global 'debug'"),
    Attack("debug.getupvalue", "take the host's upvalues", "debug.getupvalue(print, 1)", "global 'debug'"),
    Attack("debug.sethook", "switch the limits off", "debug.sethook()", "global 'debug'"),
    Attack("debug.getregistry", "take the registry", "debug.getregistry()", "global 'debug'"),
    Attack("debug.setmetatable", "change the metatable of functions", "debug.setmetatable(print, {})", "'debug'"),
    _absent("collectgarbage", "stop the collector", "collectgarbage"),
    _absent("getfenv", "take a function's environment", "getfenv or setfenv"),
    _absent("newproxy", "make userdata with a finalizer", "newproxy"),
    _absent("the host table", "find the privileged half", "host or guards or _G.host or _G.guards"),
    _absent("_ENV", "find the real globals", "_ENV.io or _ENV.debug or _ENV.python or _ENV.load"),
    Attack("replace _ENV", "an environment of one's own", "local _ENV = {} return io and 'escaped'"),
    Attack("_ENV metatable", "look behind the environment", "return getmetatable(_ENV).__index", "a boolean value"),
    Attack(
        "walk everything",
        "search all reachable values for a way out",
        """
        local seen, names = {}, {io = 1, debug = 1, load = 1, python = 1, package = 1, dofile = 1, dump = 1, execute = 1}
        local function walk(t)
            if type(t) ~= 'table' or seen[t] then return end
            seen[t] = true
            for k, v in pairs(t) do
                if names[k] then error('escaped: ' .. k) end
                walk(v)
                walk(getmetatable(v))
            end
        end
        walk(_G) walk(getmetatable(_G)) walk(getmetatable(''))""",
    ),
    # Python --------------------------------------------------------------------------------------------------------------
    Attack("python.eval", "evaluate Python", 'python.eval(\'open("canary", "w")\')', "global 'python'"),
    Attack("python.builtins", "take Python's functions", "python.builtins.__import__('os')", "global 'python'"),
    Attack("python.as_attrgetter", "the door lupa keeps open", "python.as_attrgetter(print)", "global 'python'"),
    Attack(
        "function globals", "a function's Python globals", "return print.__globals__", "attempt to index a function"
    ),
    Attack("class of a text", "from a text to its class", "return ('').__class__ and 'escaped'"),
    Attack("class of the body", "from the body to its class", "return body.__class__ and 'escaped'"),
    Attack("class of a module", "from a module to Python", "return queue.__class__ and 'escaped'"),
    Attack("error traceback", "frames of a caught error", "return errors.new('x').__traceback__ and 'escaped'"),
    Attack(
        "error of a host function",
        "the Python exception behind an error",
        """
        local _, err = pcall(queue.publish, nil, print)
        local ok, other = pcall(queue.publish, {}, {}, {}, {})
        for _, e in ipairs({err, other}) do
            for _, name in ipairs({'__traceback__', 'with_traceback', 'args', '__class__'}) do
                local found, value = pcall(function() return e[name] end)
                if found and value then return 'escaped' end
            end
        end""",
    ),
    Attack(
        "message frames",
        "a coroutine's frame by a message object",
        "local m = queue.message() return (m.cr_frame or m.gi_frame or m._context) and 'escaped'",
    ),
    Attack("publish a function", "a Lua function in Python's hands", "queue.publish('a:b', {f = print})"),
    Attack("return a function", "a Lua function as the result", "return {f = print, c = coroutine.create(print)}"),
    Attack("format an object", "addresses by string.format", "return ('%s'):format(queue.message()):find('Python')"),
    Attack("error object as a table", "an object's fields by next", "next(errors.new('x'))", "got userdata"),
    Attack("message as a table", "change the message by rawset", "rawset(queue.message(), 'id', 1)", "got userdata"),
    Attack("message field", "change the message", "queue.message().id = 1", "attempt to modify a queue.Message"),
    Attack(
        "object metatable", "an object's metatable", "getmetatable(queue.message()).__index = print", "boolean value"
    ),
    Attack("set object metatable", "replace it", "setmetatable(errors.new('x'), {})", "got userdata"),
    # Other scripts and messages ------------------------------------------------------------------------------------------
    Attack("poison string", "replace string.upper for all", "string.upper = function() return 'mine' end", _IMMUTABLE),
    Attack("poison by rawset", "the same past __newindex", "rawset(string, 'upper', print)", _IMMUTABLE),
    Attack("text metatable", "poison the methods of texts", "getmetatable('').__index = {}", "attempt to index a nil"),
    Attack("poison json", "replace json.encode for all", "json.encode = print", _IMMUTABLE),
    Attack("poison math", "change math.huge", "math.huge = 0", _IMMUTABLE),
    Attack("poison table", "sort the standard table", "table.sort(table)", "attempt to sort Immutable table"),
    Attack("insert into string", "table.insert on a module", "table.insert(string, 1)", "insert into Immutable table"),
    Attack("leave a global", "a global for the next message", "leak = body"),
    Attack(
        "override globals",
        "replace what other scripts use",
        "time, errors = nil, nil return time.now()",
        "(global 'time')",
    ),
    Attack("override pcall", "replace a global", "pcall = print"),
    Attack("rawset a global", "a global past the seal", "rawset(_G, 'leak', 1)", _IMMUTABLE),
    Attack("globals metatable", "replace the environment's metatable", "setmetatable(_G, {})", "protected metatable"),
    Attack("protected metatable", "replace string's metatable", "setmetatable(string, {})", _IMMUTABLE),
    Attack("finalizer", "code without limits, in __gc", "setmetatable({}, {__gc = print})", "__gc is not available"),
    Attack(
        "late finalizer",
        "__gc set after setmetatable",
        """
        local m = {}
        for i = 1, 1000 do setmetatable({}, m) end
        m.__gc = function() kept.escaped = true end
        for i = 1, 1e5 do local t = {} end
        return kept.escaped and 'escaped'""",
    ),
    Attack(
        "resume the host",
        "run the coroutine that runs the script",
        "local ok, err = coroutine.resume((coroutine.running())) error(err)",
        "can not resume a running thread",
    ),
    Attack("coroutine.close", "end the host's coroutine", "coroutine.close((coroutine.running()))", "script.lua:4:"),
    Attack(
        "forged request",
        "ask Python for an operation by yield",
        "coroutine.yield('publish', 'app:x', 1) return coroutine.yield({}, {}) and 'escaped'",
    ),
    Attack(
        "forged request inside a coroutine",
        "the same from a coroutine of one's own",
        """
        local co = coroutine.wrap(function() return coroutine.yield(2, 'queue.publish', 'vv', 'app:x', 1) end)
        co()
        return co(true) ~= true and 'escaped'""",
    ),
    Attack("forged answer", "a result that looks like the host's", "return 2, 1, 'queue.publish'", ""),
    Attack("forged shape", "a result that looks like a flattened value", "return 'oooo', 5"),
    Attack("actor by a field", "become another actor", "security.actor().id = 'admin'", "script.lua:4:"),
    Attack("source path", "a file:// source as a queue's name", "assert(queue.publish('file:///etc/passwd', 1))"),
    Attack("header of the system", "forge the count of attempts", "queue.publish('a:b', 1, {attempts = 0})"),
    Attack(
        "close the sandbox's door",
        "end a script while it loads",
        "coroutine.yield(1) return function() end",
        "coroutine.yield cannot be used while the script loads",
        whole=True,
    ),
    Attack(
        "globals at load",
        "replace globals for other scripts",
        "string.upper = print return print",
        _IMMUTABLE,
        whole=True,
    ),
    Attack(
        "publish at load",
        "act before there is an actor",
        "assert(queue.publish('a:b', 1))",
        "while the script loads",
        whole=True,
    ),
]
