"""Whether a script can be read as Lua; nothing of it runs."""

from __future__ import annotations

import re

from tasuki.handlers.lua.types import strip

_PLACE = re.compile(r"source:(\d+): ")


def syntax_problem(text: str) -> tuple[int, str] | None:
    """The line (from 1; 0: unknown) and what Lua says is wrong there; None: all is well. Types are allowed."""
    import lupa.lua54 as lupa

    # Bytes: an error message may end in the middle of a character.
    lua = lupa.LuaRuntime(encoding=None, register_eval=False, register_builtins=False)
    load = lua.execute(b"local load = load; return function(text) return select(2, load(text, '=source', 't')) end")
    told: bytes | None = load(strip(text).encode("utf-8", "replace"))
    if told is None:
        return None
    problem = told.decode("utf-8", "replace")
    place = _PLACE.match(problem)
    return (int(place[1]), problem[place.end() :]) if place else (0, problem)
