"""The context of a script's top level: it runs before any message is there."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from tasuki.contracts.handler import Context
from tasuki.contracts.permissions import Plain
from tasuki.errors import HandlerError
from tasuki.message import HeaderValue, Message


class LoadingContext(Context):
    """Logs, and refuses everything that needs a running handler."""

    def __init__(self, function: str) -> None:
        self._function = function

    @property
    def function(self) -> str:
        """The id given at construction."""
        return self._function

    @property
    def message(self) -> Message | None:
        """Always None."""
        return None

    @property
    def attempt(self) -> int:
        """Always 0."""
        return 0

    @property
    def queue(self) -> str:
        """Always empty."""
        return ""

    @property
    def consumer(self) -> str:
        """Always empty."""
        return ""

    @property
    def stopping(self) -> bool:
        """Always false."""
        return False

    @property
    def lease_lost(self) -> bool:
        """Always false."""
        return False

    @property
    def logger(self) -> logging.Logger:
        """The logger of Lua functions."""
        return logging.getLogger("tasuki.handlers.lua")

    def ack(self) -> None:
        """Refused."""
        refuse_at_load("ack")

    def nack(self, delay: float | str | None = None) -> None:
        """Refused."""
        refuse_at_load("nack")

    def reject(self, reason: str = "") -> None:
        """Refused."""
        refuse_at_load("reject")

    def snooze(self, after: float | str) -> None:
        """Refused."""
        refuse_at_load("snooze")

    async def publish(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None = None, **options: Any
    ) -> str:
        """Refused."""
        refuse_at_load("queue.publish")

    async def call(self, function: str, *args: Any) -> Any:
        """Refused."""
        refuse_at_load("funcs.call")

    async def call_with(
        self,
        function: str,
        *args: Any,
        values: Mapping[str, Any] | None = None,
        actor: Plain | None = None,
        scope: Sequence[str] | None = None,
    ) -> Any:
        """Refused."""
        refuse_at_load("funcs.call")

    async def info(self, queue: str) -> Mapping[str, Any]:
        """Refused."""
        refuse_at_load("queue.info")

    def resource(self, id: str) -> Any:
        """Refused."""
        refuse_at_load("store.get")

    def env(self, name: str) -> str | None:
        """Refused."""
        refuse_at_load("env.get")

    def set_env(self, name: str, value: str) -> None:
        """Refused."""
        refuse_at_load("env.set")

    def env_all(self) -> Mapping[str, str]:
        """Refused."""
        refuse_at_load("env.get_all")


def refuse_at_load(what: str) -> NoReturn:
    """Say that an operation needs a running handler."""
    raise HandlerError(
        f"{what} cannot be used while the script loads; call it in the handler", kind="Invalid", retryable=False
    )
