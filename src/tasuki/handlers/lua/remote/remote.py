"""A Lua handler that lives in another thread or process: what it does itself, and what it asks its worker for.

Plain computing (JSON, digests, UUIDs, the clock, sleeping) is done where the script is; what reaches the rest of the
project, or its records, is asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Protocol

from tasuki.contracts.handler import Context
from tasuki.handlers.lua import modules as catalogue
from tasuki.handlers.lua.handler import LoadingContext, LuaHandler
from tasuki.handlers.lua.script import LuaScript

_COMPUTING = ("base64", "hash", "json", "time", "uuid")
AT_LOAD = frozenset({"log", "metrics.count", "metrics.set", "metrics.add", "metrics.observe"})
"""Asked for while a script loads, these are kept and done by the worker afterwards."""
_MOST_AT_LOAD = 1000


def local_operations() -> frozenset[str]:
    """Names of the operations that a thread or child does by itself."""
    found = {"os.clock", "yield", "funcs.copy", "context.suspend", *catalogue.payload.OPERATIONS}
    return frozenset(found.union(*(catalogue.MODULES[name].operations for name in _COMPUTING)))


class Asking(Protocol):
    """How a script's context reaches its worker."""

    def ask(self, operation: str, *args: Any) -> Coroutine[Any, Any, Any]:
        """What the worker answers; raises what it failed with."""

    def prove(self) -> None:
        """A step of the script has ended, though nothing is asked for."""


class RemoteContext(LoadingContext):
    """The context of a script that is not in its worker's thread: all that it can do is ask."""

    def __init__(self, function: str, asking: Asking) -> None:
        super().__init__(function)
        self.ask = asking.ask
        self.prove = asking.prove


class RemoteLuaHandler(LuaHandler):
    """Calls need a :class:`RemoteContext`. ``at_load`` holds what the top level has logged and counted."""

    def __init__(self, script: LuaScript) -> None:
        super().__init__(script)
        self.at_load: list[tuple[str, tuple[Any, ...]]] = []

    def operations(self, used: Iterable[str]) -> Mapping[str, catalogue.Operation]:
        """See LuaHandler."""
        local = local_operations()
        return {
            name: _proving(operation) if name in local else self._asking(name, operation)
            for name, operation in catalogue.operations(used).items()
        }

    def _asking(self, name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def ask(context: Context, *args: Any) -> Any:
            if isinstance(context, RemoteContext):
                return context.ask(name, *args)
            if name not in AT_LOAD:
                return operation(context, *args)  # which refuses, as it does for every script
            if len(self.at_load) < _MOST_AT_LOAD:
                self.at_load.append((name, args))
            return None

        return ask


def do_at_load(id: str, asked: Iterable[tuple[str, Iterable[Any]]]) -> None:
    """Do for the worker what the top level of a script has logged and counted elsewhere."""
    operations = catalogue.operations(("metrics",))
    context = LoadingContext(id)
    for name, args in asked:
        if name in AT_LOAD:
            operations[name](context, *args)


def _proving(operation: Callable[..., Any]) -> Callable[..., Any]:
    """The operation; if it waits, it says first that the script has come so far."""
    if not inspect.iscoroutinefunction(operation):
        return operation

    def wait(context: Context, *args: Any) -> Any:
        if isinstance(context, RemoteContext):
            context.prove()
        return operation(context, *args)

    return wait
