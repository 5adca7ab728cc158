"""Runs pieces of Lua as handlers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tasuki.errors import LuaError
from tasuki.handlers.lua import LuaHandler, LuaLibrary, LuaSource, ScriptLimits
from tasuki.handlers.lua.modules import MODULES
from tasuki.handlers.lua.script import LuaScript
from tasuki.message import Message
from tasuki.testing.context import RecordingContext

ALL = tuple(MODULES)


def delivery(**options: Any) -> RecordingContext:
    return RecordingContext(Message("m-1", b"{}", {"trace": "t-1", "n": 2}), **options)


def handler(
    text: str,
    *,
    method: str | None = None,
    modules: Sequence[str] = ALL,
    imports: Mapping[str, LuaLibrary] | None = None,
    **limits: Any,
) -> LuaHandler:
    """A handler of a whole script; one that is about no time has enough of it, also on a busy machine."""
    source, bounds = LuaSource(text, "script.lua"), ScriptLimits(**{"time": 60.0, **limits})
    return LuaHandler(LuaScript("app:script", source, method, modules, imports or {}, bounds))


async def complaint(code: str) -> str:
    """The text of the error that a function body raises, without the place: its first line."""
    with pytest.raises(LuaError) as raised:
        await run(code)
    place, _, text = str(raised.value).partition(":1: ")
    assert place == "script.lua"
    return text


async def run(code: str, *args: Any, context: RecordingContext | None = None, **options: Any) -> Any:
    """The result of a function body, called with the arguments as ``...`` (the first is ``body``)."""
    made = handler(f"return function(...) local body = ... {code}\nend", **options)
    return await made.call(args, context or delivery())
