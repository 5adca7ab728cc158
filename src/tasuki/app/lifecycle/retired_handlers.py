"""Handlers that a reload has replaced: kept for as long as deliveries may run in them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tasuki.consumers.delivery import Delivery

_log = logging.getLogger("tasuki.app")


class Stoppable(Protocol):
    """A handler, or the providers of handlers."""

    id: str

    async def stop(self) -> None:
        """Free what it holds."""


@dataclass(eq=False, slots=True)
class Retired:
    """Handlers that were replaced, and the deliveries that ran at that time."""

    handlers: list[Stoppable]
    running: list[Delivery]

    @property
    def is_idle(self) -> bool:
        """Whether all these deliveries have ended."""
        return all(delivery.ended for delivery in self.running)


async def stop_all(handlers: Iterable[Stoppable]) -> None:
    """Stop each, also when another one fails to."""
    for handler in handlers:
        try:
            await handler.stop()
        except Exception:
            _log.exception("handler %s failed to stop", handler.id)
