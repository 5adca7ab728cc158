"""IsolatedPythonHandler: a Python function whose crash, leak or endless loop costs its own messages only."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tasuki.contracts.codec import Codec
from tasuki.contracts.handler import Context, Handler
from tasuki.contracts.recycling import NO_LIMITS, Limits
from tasuki.errors import HandlerError, HandlerTimeoutError
from tasuki.handlers.isolated.answers import PythonHost
from tasuki.handlers.isolated.target import Circumstances, PythonTarget
from tasuki.handlers.process.pool import Pool
from tasuki.handlers.process.protocol import CALL, HANDLE, encode
from tasuki.handlers.process.worker import Recipe
from tasuki.observe.trace import CURRENT, handed_on
from tasuki.units import format_duration

_SITE = "tasuki.handlers.isolated.site:PythonSite"


class IsolatedPythonHandler(Handler):
    """Runs the function in child processes, which import it; nothing of it is imported here.

    Its context works there by questions to this process. The code is trusted, only its faults are not: the child has
    the environment, the folder and the rights of the worker.

    Args:
        target: the function.
        time: seconds of one run, waiting included; what does not end within half a second of that is killed.
        processes: how many children there may be; each runs several messages at a time when there are more.
        limits: when a child is replaced by another one.
    """

    def __init__(self, target: PythonTarget, *, time: float | None, processes: int, limits: Limits = NO_LIMITS) -> None:
        super().__init__(target.id)
        self._time = time
        source = None if target.source is None else str(Path(target.source).resolve())
        level = logging.getLogger().getEffectiveLevel()
        self._host = PythonHost(target.id)
        recipe = Recipe(
            site=_SITE,
            boot=msgspec.to_builtins(dataclasses.replace(target, source=source, level=level)),
            host=self._host,
            is_closed=False,
            seconds=None,
        )
        self._pool = Pool(target.id, recipe, processes, limits)

    async def start(self) -> None:
        """Start a process that imports the function. Raises what ``PythonHandler.start`` raises."""
        await self._pool.start()

    async def stop(self) -> None:
        """End the processes."""
        await self._pool.stop()

    def decoder(self, codec: Codec) -> Callable[[bytes], Any]:
        """To plain data: the child makes of it what the function wants.

        Raises:
            HandlerError: the handler was not started: it does not know yet whether there is a body parameter.
        """
        if self._host.takes_body is None:
            raise HandlerError(f"{self.id}: not started")
        return codec.decoder() if self._host.takes_body else lambda data: None

    async def handle(self, body: Any, context: Context) -> Any:
        """Treat one message; as ``PythonHandler.handle``, and HandlerError if the process ends."""
        return await self._run(HANDLE, body, context)

    async def call(self, args: Sequence[Any], context: Context) -> Any:
        """Call with any number of arguments; they and the result are plain data."""
        return await self._run(CALL, list(args), context)

    async def _run(self, kind: int, value: Any, context: Context) -> Any:
        payload = encode((_circumstances(context), value))
        try:
            return await self._pool.run(kind, payload, context, self._time)
        except TimeoutError:
            text = f"the handler ran longer than its limits.time ({format_duration(self._time or 0)})"
            raise HandlerTimeoutError(text, kind="Timeout", retryable=True) from None

    def processes(self) -> list[int]:
        """Their ids."""
        return self._pool.pids()


def _circumstances(context: Context) -> Circumstances:
    message = context.message
    return Circumstances(
        context.function,
        context.attempt,
        context.failures,
        context.is_last_attempt,
        context.queue,
        context.consumer,
        None if message is None else (message.id, message.body, message.headers),
        dict(context.values),
        context.permissions is not None,
        context.logger.getEffectiveLevel(),
        context.facts.keeps_result,
        handed_on(CURRENT.get() or {}),
    )
