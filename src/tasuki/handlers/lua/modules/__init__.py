"""The modules that scripts may list: a Lua file for the script's side, operations for the Python side.

A module's Lua file returns its table; where it needs Python it asks for an operation by name (``host.ask``,
``host.send``). An operation takes the context and plain values and returns a plain value, or an awaitable of one; what
it raises becomes the error object that the script gets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from tasuki.handlers.lua.modules.calls import context, ctx, funcs
from tasuki.handlers.lua.modules.data import base64, json, payload, uuid
from tasuki.handlers.lua.modules.data import hash as hashing
from tasuki.handlers.lua.modules.services import env, queue, security, store
from tasuki.handlers.lua.modules.telemetry import logger, metrics
from tasuki.handlers.lua.modules.time import time
from tasuki.handlers.lua.script import LuaLibrary

Operation = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Module:
    """One module: its operations by the name that its Lua text uses, and further Lua files that it needs."""

    name: str
    operations: Mapping[str, Operation]
    parts: tuple[str, ...] = ()

    def texts(self) -> tuple[str, ...]:
        """The Lua files: the parts, and last the one of the module's name, which returns its table."""
        return tuple(_read(name) for name in (*self.parts, self.name))


MODULES: Mapping[str, Module] = {
    module.NAME: Module(module.NAME, module.OPERATIONS, getattr(module, "PARTS", ()))
    for module in (base64, context, ctx, env, funcs, hashing, json, logger, metrics, queue, security, store, time, uuid)
}


async def _reschedule(_: Any) -> None:
    await asyncio.sleep(0)


_ALWAYS: dict[str, Operation] = {"log": logger.log, "os.clock": time.clock, "yield": _reschedule}
_ALWAYS.update(payload.OPERATIONS)


def closure(names: Iterable[str], imports: Mapping[str, LuaLibrary]) -> frozenset[str]:
    """Names of the known modules that a script and the libraries below it list."""
    return frozenset(name for name in _listed(names, imports) if name in MODULES)


def _listed(names: Iterable[str], imports: Mapping[str, LuaLibrary]) -> Iterator[str]:
    yield from names
    for library in imports.values():
        yield from _listed(library.modules, library.imports)


def texts(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The Lua texts of each module."""
    return {name: MODULES[name].texts() for name in names}


def operations(names: Iterable[str]) -> dict[str, Operation]:
    """What these modules may ask for, and what every script may."""
    found = dict(_ALWAYS)
    for name in names:
        found.update(MODULES[name].operations)
    return found


@cache
def _read(name: str) -> str:
    paths = (
        folder / f"{name}.lua" for folder in (files(__package__), *files(__package__).iterdir()) if folder.is_dir()
    )
    return next(path for path in paths if path.is_file()).read_text("utf-8")
