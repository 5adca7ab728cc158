"""IsolatedLuaHandler: a script in processes of its own, for scripts from strangers (``isolation: process``)."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from contextvars import Context as Variables
from typing import Any

import msgspec

from tasuki.contracts.handler import Context, Handler
from tasuki.contracts.recycling import NO_LIMITS, Limits
from tasuki.contracts.state.job_context import wants_result
from tasuki.errors import HandlerError, LuaError, LuaLimitError
from tasuki.handlers.lua import modules as catalogue
from tasuki.handlers.lua.host.budget import Budget, budget_in, errand
from tasuki.handlers.lua.host.errors import describe
from tasuki.handlers.lua.remote.remote import do_at_load, local_operations
from tasuki.handlers.lua.script import LuaScript
from tasuki.handlers.process.failure import PlainFailure
from tasuki.handlers.process.pool import ChildPool
from tasuki.handlers.process.protocol import CALL, HANDLE, ProtocolError, encode
from tasuki.handlers.process.questions import Death
from tasuki.handlers.process.worker import Recipe
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
    """See :class:`tasuki.handlers.process.questions.ChildHost`."""

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
        return found(context, *args)

    def paid(self, work: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """On the budget of the call."""
        return errand(work)

    def cost(self, variables: Variables) -> float:
        """What the functions that it has called have used."""
        budget = budget_in(variables)
        return budget.beside if budget else 0.0

    def charge(self, variables: Variables, seconds: float) -> None:
        """The callers pay for it."""
        if (budget := budget_in(variables)) is not None:
            budget.use(max(seconds - budget.own, 0.0))

    def failure(self, error: Exception) -> PlainFailure:
        """What the script's error object is made of."""
        return PlainFailure("HandlerError", **describe(error))

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


_SITE = "tasuki.handlers.lua.remote.child_main:LuaSite"


class IsolatedLuaHandler(Handler):
    """The box of LuaHandler, and around it the operating system's: see docs/security.md for what each stops.

    ``processes``: how many there may be; each treats several messages at a time, as far as they wait; ``limits``: when
    one is replaced.
    """

    def __init__(self, script: LuaScript, *, processes: int, limits: Limits = NO_LIMITS) -> None:
        super().__init__(script.id)
        self._script = script
        self._limits = script.limits
        recipe = Recipe(
            site=_SITE,
            boot=msgspec.to_builtins(script),
            host=LuaHost(script),
            is_closed=True,
            seconds=script.limits.time,
        )
        self._pool = ChildPool(script.id, recipe, processes, limits)

    async def start(self) -> None:
        """Start a process and load the script in it. Raises what ``LuaHandler.start`` raises."""
        await self._pool.start()

    async def stop(self) -> None:
        """End the processes."""
        await self._pool.stop()

    async def handle(self, body: Any, context: Context) -> Any:
        """Treat one message; as ``LuaHandler.handle``, and LuaError if the process ends."""
        if wants_result(context):
            return await self.call((body,), context)
        return await self._run(HANDLE, body, context)

    async def handle_batch(self, bodies: list[Any], context: Context) -> Any:
        """Handle a batch; its result is converted, as it may be a list of one result for each message."""
        return await self.call((bodies,), context)

    async def call(self, args: Sequence[Any], context: Context) -> Any:
        """Call with any number of arguments; as ``LuaHandler.call``."""
        return await self._run(CALL, list(args), context)

    async def _run(self, kind: int, value: Any, context: Context) -> Any:
        budget = Budget.of_call(self.id, self._limits, is_remote=True)
        with budget.calling():
            return await self._pool.run(kind, self._encode(value, budget.used), context)

    def _encode(self, value: Any, used: float) -> bytes:
        payload = encode((used, value))
        if len(payload) > self._limits.memory:
            raise LuaLimitError(self._limits.describe("memory"), limit="memory")
        return payload

    def processes(self) -> list[int]:
        """Their ids."""
        return self._pool.pids()
