"""A Lua handler in its child process: the part that runs there."""

from __future__ import annotations

from typing import Any

import lupa.lua54  # noqa: F401 - before the process is confined
import msgspec

from tasuki.errors import LuaError, LuaLimitError
from tasuki.handlers.lua.host.budget import Budget
from tasuki.handlers.lua.remote.remote import RemoteContext, RemoteLuaHandler
from tasuki.handlers.lua.script import LuaLimits, LuaScript
from tasuki.handlers.process.confine import ProcessorTime, confine
from tasuki.handlers.process.failure import Failure, failure_of
from tasuki.handlers.process.server import Asker, Server


class _Asking:
    """Asks the worker, whose answers tell what they cost."""

    def __init__(self, asker: Asker, budget: Budget) -> None:
        self._asker = asker
        self._budget = budget
        self.prove = asker.prove

    async def ask(self, operation: str, *args: Any) -> Any:
        self._asker.used = self._budget.own
        try:
            return await self._asker.ask(operation, *args)
        finally:
            self._budget.beside = self._asker.elsewhere


class LuaSite:
    """See :class:`tasuki.handlers.process.server.Site`."""

    def __init__(self) -> None:
        self._limits = LuaLimits()
        self._id = ""
        self._handler: RemoteLuaHandler | None = None

    async def boot(self, server: Server, recipe: Any) -> Any:
        """The recipe is a LuaScript; the result, for the worker, is what the top level has logged and counted."""
        script = msgspec.convert(recipe, LuaScript)
        self._limits, self._id = script.limits, script.id
        confine(script.limits.memory, strangers=True)
        server.processor_time = ProcessorTime(script.limits.time)
        server.processor_time.move()
        self._handler = handler = RemoteLuaHandler(script)
        await handler.start()
        return handler.at_load

    async def treat(self, asker: Asker, circumstances: Any, value: Any, *, is_call: bool) -> Any:
        """The circumstances are the seconds of its time that are gone; the script asks for all else."""
        assert self._handler is not None
        budget = Budget(self._limits.time - circumstances)
        context = RemoteContext(self._id, _Asking(asker, budget))
        try:
            with budget.calling():
                return await budget.measured(
                    self._handler.call(value, context) if is_call else self._handler.handle(value, context)
                )
        finally:
            asker.used = budget.own
            asker.tell_used()

    def failure(self, error: BaseException) -> Failure:
        """An error that is none of the script's is one of its process."""
        if isinstance(error, MemoryError):
            return failure_of(LuaLimitError(self._limits.describe("memory"), limit="memory"))
        failure = failure_of(error)
        if failure.type == "HandlerError" and failure.traceback.startswith("Traceback"):
            return failure_of(LuaError(failure.message, kind="Internal", traceback=failure.traceback))
        return failure
