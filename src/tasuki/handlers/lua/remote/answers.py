"""What the worker does for scripts in another process: only what their modules have, on checked values."""

from __future__ import annotations

from contextvars import Context as Variables
from types import CoroutineType
from typing import Any

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError, LuaError, LuaLimitError
from tasuki.handlers.lua import modules as catalogue
from tasuki.handlers.lua.host.budget import budget_in, errand
from tasuki.handlers.lua.host.errors import describe
from tasuki.handlers.lua.remote.remote import do_at_load, local_operations
from tasuki.handlers.lua.script import LuaScript
from tasuki.handlers.process.failure import Failure
from tasuki.handlers.process.host import Death
from tasuki.handlers.process.protocol import ProtocolError
from tasuki.units import format_duration

_MOST_ARGUMENTS = 256
_TEXTS = {
    "log": 3,
    "queue.publish": 1,
    "queue.may": 1,
    "queue.info": 1,
    "queue.cancel": 2,
    "queue.signal": 2,
    "context.begin": 1,
    "context.end": 1,
    "queue.pause": 1,
    "queue.resume": 1,
    "queue.settle": 1,
    "funcs.call": 1,
    "funcs.check": 1,
    "funcs.may": 3,
    "ctx.get": 1,
    "env.get": 1,
    "env.set": 2,
    "security.can": 2,
    "security.require": 3,
    "security.policy": 1,
    "security.group": 1,
    **dict.fromkeys(("metrics.count", "metrics.set", "metrics.add", "metrics.observe"), 1),
    **dict.fromkeys(("store.open", "store.list", "store.info"), 1),
    **dict.fromkeys(("store.get", "store.set", "store.has", "store.delete", "store.entry", "store.put"), 2),
}
"""How many first arguments of an operation are texts. The script's side ensures that (the modules' Lua files); a child
that sends something else runs something else."""


class LuaHost:
    """See :class:`tasuki.handlers.process.host.Host`."""

    def __init__(self, script: LuaScript) -> None:
        used = catalogue.closure(script.modules, script.imports)
        local = local_operations()
        known = catalogue.operations(used)
        self._operations = {name: operation for name, operation in known.items() if name not in local}
        self._script = script

    def answer(self, context: Context, operation: str, args: list[Any]) -> Any:
        """The value of an operation, or a coroutine of it."""
        found = self._operations.get(operation)
        texts = _TEXTS.get(operation, 0)
        if found is None or len(args) > _MOST_ARGUMENTS or any(type(value) is not str for value in args[:texts]):
            raise ProtocolError(f"a question for {operation[:50]!r} that the script cannot have")
        if len(args) < texts:
            raise ProtocolError(f"a question for {operation!r} with too few values")
        value = found(context, *args)
        return errand(value) if type(value) is CoroutineType else value

    def cost(self, variables: Variables) -> float:
        """What the functions that it has called have used."""
        budget = budget_in(variables)
        return budget.beside if budget else 0.0

    def charge(self, variables: Variables, seconds: float) -> None:
        """The callers pay for it."""
        if (budget := budget_in(variables)) is not None:
            budget.use(max(seconds - budget.own, 0.0))

    def failure(self, error: Exception) -> Failure:
        """What the script's error object is made of."""
        return Failure("HandlerError", **describe(error))

    def note(self, context: Context | None, args: list[Any]) -> None:
        """Scripts ask for their log records, as for all else."""
        raise ProtocolError("an unexpected log record")

    def ready(self, told: Any) -> None:
        """Do what the top level has logged and counted."""
        try:
            do_at_load(self._script.id, told)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ProtocolError("a list of questions that cannot be read") from error

    def died(self, death: Death) -> HandlerError:
        """The error names the script, and why it has no process any more."""
        name = self._script.source.chunk_name
        limit = format_duration(self._script.limits.time)
        if death.late == "time" and (not death.beside or not death.was_waiting):
            text = f"{name}: {self._script.limits.describe('time')}, and its process was killed"
            return LuaLimitError(text, limit="time")
        cause = death.cause()
        if death.late == "time":
            cause = f"was killed, because another message computed longer than {limit} in it"
        return LuaError(f"{name}: the script's process {cause}", kind="Internal", retryable=True)
