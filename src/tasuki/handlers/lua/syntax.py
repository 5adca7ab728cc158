"""Whether a script can be read as Lua; nothing of it runs."""

from __future__ import annotations

import re

from tasuki.handlers.lua.types import strip

_PLACE = re.compile(r"source:(\d+): ")


def syntax_problem(text: str) -> tuple[int, str] | None:
    """The line (from 1; 0: unknown) and what Lua says is wrong there; None: all is well. Types are allowed."""
    import lupa.lua54 as lupa

    lua = lupa.LuaRuntime(encoding="utf-8", register_eval=False, register_builtins=False)
    load = lua.execute("local load = load; return function(text) return select(2, load(text, '=source', 't')) end")
    problem: str | None = load(strip(text))
    if problem is None:
        return None
    place = _PLACE.match(problem)
    return (int(place[1]), problem[place.end() :]) if place else (0, problem)
