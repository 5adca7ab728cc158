"""python -m tests.e2e.lua_recorder FILE COMMAND...: the command line, with a note of every Lua function that is called.

At the end FILE holds, as JSON, the names of all functions that scripts of this process could reach (``known``) and of
those that they called (``called``): ``json.encode``, ``queue.Message:ack``, ``tostring``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tasuki.handlers.lua.host.runtime import Runtime

_WRAP = """function(host, known, called)
    local next, type, rawget, getmetatable, getupvalue = next, type, rawget, getmetatable, debug.getupvalue
    local function noting(name, fn)
        known[name] = true
        if name == "error" then -- C's own: it would tell the place of this wrapper
            called[name] = true
            return fn
        end
        return function(...)
            called[name] = true
            return fn(...)
        end
    end
    local function wrap(prefix, contents)
        for name, value in next, contents do
            if type(value) == "function" then contents[name] = noting(prefix .. name, value) end
        end
    end
    local function wrap_tables(tables)
        for name, value in next, tables do
            if type(value) == "function" then
                tables[name] = noting(name, value)
            elseif type(value) == "table" and host.frozen[value] then
                wrap(name .. ".", host.frozen[value])
            end
        end
    end
    for i = 1, 20 do
        local name, value = getupvalue(host.load, i)
        if name == "library" or name == "modules" then wrap_tables(value) end
    end
    for meta in next, host.objects do
        local methods = rawget(meta, "__index")
        if type(methods) == "table" then wrap(meta.__name .. ":", methods) end
    end
end"""


def install(file: Path) -> None:
    """From now on every runtime takes notes; at the end of the process they are added to the file."""
    notes: list[Any] = []
    original = Runtime._clear_globals

    def clear_globals(self: Runtime) -> None:
        known, called = self._lua.table(), self._lua.table()
        notes.append((known, called))
        self._lua.eval(_WRAP)(self._host, known, called)
        original(self)

    Runtime._clear_globals = clear_globals  # type: ignore[method-assign]

    def write() -> None:
        found = json.loads(file.read_text()) if file.exists() else {"known": [], "called": []}
        for known, called in notes:
            found["known"] = sorted({*found["known"], *known})
            found["called"] = sorted({*found["called"], *called})
        file.write_text(json.dumps(found))

    import atexit

    atexit.register(write)


if __name__ == "__main__":
    install(Path(sys.argv[1]))
    from tasuki.cli import main

    sys.argv = ["tasuki", *sys.argv[2:]]
    main()
