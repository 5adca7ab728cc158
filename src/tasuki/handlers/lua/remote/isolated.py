"""IsolatedLuaHandler: a script in processes of its own, for scripts from strangers (``isolation: process``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tasuki.contracts.handler import Context, Handler
from tasuki.contracts.recycling import NO_LIMITS, Limits
from tasuki.errors import LuaLimitError
from tasuki.handlers.lua.host.budget import Budget
from tasuki.handlers.lua.remote.answers import LuaHost
from tasuki.handlers.lua.script import LuaScript
from tasuki.handlers.process.pool import Pool
from tasuki.handlers.process.protocol import CALL, HANDLE, encode
from tasuki.handlers.process.worker import Recipe

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
        self._pool = Pool(script.id, recipe, processes, limits)

    async def start(self) -> None:
        """Start a process and load the script in it. Raises what ``LuaHandler.start`` raises."""
        await self._pool.start()

    async def stop(self) -> None:
        """End the processes."""
        await self._pool.stop()

    async def handle(self, body: Any, context: Context) -> Any:
        """Treat one message; as ``LuaHandler.handle``, and LuaError if the process ends."""
        if context.wants_result:
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
