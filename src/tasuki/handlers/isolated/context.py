"""ChildContext: the context of a Python function in a child process; it passes each request on to the worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tasuki.contracts.handler import Context
from tasuki.contracts.permissions import Permissions, Plain
from tasuki.handlers.isolated.target import Circumstances
from tasuki.handlers.loops import run_in
from tasuki.handlers.process.server import Asker
from tasuki.message import HeaderValue, Message

Ask = Callable[..., Any]


class ChildContext(Context):
    """See the contract. Methods that do not await block their thread for the time of a question and its answer.

    Args:
        circumstances: what does not change.
        asker: the way to the worker.
        home: the loop of the way to the worker, which is not the one of the function.
        logger: where its records go.
    """

    __slots__ = ("_asker", "_circumstances", "_home", "_logger", "_message")

    def __init__(
        self, circumstances: Circumstances, asker: Asker, home: asyncio.AbstractEventLoop, logger: logging.Logger
    ) -> None:
        self._circumstances = circumstances
        self._asker = asker
        self._home = home
        self._logger = logger
        self._message = None if circumstances.message is None else Message(*circumstances.message)

    def _ask(self, operation: str, *args: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(self._asker.ask(operation, *args), self._home).result()

    async def _wait_for(self, operation: str, *args: Any) -> Any:
        return await run_in(self._home, self._asker.ask(operation, *args))

    @property
    def function(self) -> str:
        """See the contract, here and below."""
        return self._circumstances.function

    @property
    def message(self) -> Message | None:
        return self._message

    @property
    def attempt(self) -> int:
        return self._circumstances.attempt

    @property
    def queue(self) -> str:
        return self._circumstances.queue

    @property
    def consumer(self) -> str:
        return self._circumstances.consumer

    @property
    def values(self) -> Mapping[str, Any]:
        return self._circumstances.values

    @property
    def logger(self) -> logging.Logger:
        return self._logger

    @property
    def stopping(self) -> bool:
        return bool(self._ask("stopping"))

    @property
    def lease_lost(self) -> bool:
        return bool(self._ask("lease_lost"))

    @property
    def permissions(self) -> Permissions | None:
        return _Permissions(self._ask) if self._circumstances.has_permissions else None

    def ack(self) -> None:
        self._ask("ack")

    def nack(self, delay: float | str | None = None) -> None:
        self._ask("nack", delay)

    def reject(self, reason: str = "") -> None:
        self._ask("reject", reason)

    def snooze(self, after: float | str) -> None:
        self._ask("snooze", after)

    async def publish(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None = None, **options: Any
    ) -> str:
        return str(await self._wait_for("publish", queue, body, None if headers is None else dict(headers), options))

    async def call(self, function: str, *args: Any) -> Any:
        return await self._wait_for("call", function, args)

    def check_call(self, function: str) -> None:
        self._ask("check_call", function)

    async def call_with(
        self,
        function: str,
        *args: Any,
        values: Mapping[str, Any] | None = None,
        actor: Plain | None = None,
        scope: Sequence[str] | None = None,
    ) -> Any:
        return await self._wait_for("call_with", function, args, values, actor, scope)

    async def info(self, queue: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await self._wait_for("info", queue)
        return found

    def resource(self, id: str) -> Any:
        self._ask("resource", id)
        return _Resource(id, self._ask)

    def env(self, name: str) -> str | None:
        found: str | None = self._ask("env", name)
        return found

    def set_env(self, name: str, value: str) -> None:
        self._ask("set_env", name, value)

    def env_all(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self._ask("env_all")
        return found


class _Resource:
    """A resource of the worker: its public methods, on plain data."""

    def __init__(self, id: str, ask: Ask) -> None:
        self._id = id
        self._ask = ask

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def use(*args: Any, **options: Any) -> Any:
            is_awaited, value = self._ask("resource.use", self._id, name, args, options)
            return _given(value) if is_awaited else value

        return use


async def _given(value: Any) -> Any:
    return value


class _Permissions:
    """See :class:`tasuki.contracts.permissions.Permissions`."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        return lambda *args, **options: self._ask("permissions", verb, args, options)
