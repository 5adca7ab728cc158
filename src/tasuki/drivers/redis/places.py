"""Places: the queues that this process knows, and where each is at the server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.redis.scripts import Place, place
from tasuki.drivers.toolkit.guard import not_declared


class Places:
    """Of one driver: declared queues, inspected ones, and undeclared ones with open deliveries."""

    def __init__(self, driver: str, prefix: str) -> None:
        self._driver = driver
        self._prefix = prefix
        self._known: dict[str, Place] = {}
        self._left: dict[str, Place] = {}

    def declare(self, spec: QueueSpec) -> Place:
        """Know a queue that this driver may make."""
        where = self._known[spec.name] = place(self._prefix, spec)
        self._left.pop(spec.name, None)
        return where

    def inspected(self, spec: QueueSpec) -> Place:
        """The place of a queue that this driver must not make; ``know`` keeps it."""
        return replace(place(self._prefix, spec), is_inspected=True)

    def know(self, where: Place) -> None:
        """Know a queue, unless it is known already: a declared one stays declared."""
        self._known.setdefault(where.name, where)
        self._left.pop(where.name, None)

    def forget(self, queue: str, *, is_held: bool) -> Place | None:
        """Know it no longer; with open deliveries, ``open_deliveries`` still finds it."""
        where = self._known.pop(queue, None)
        if where is not None and is_held:
            self._left[queue] = where
        return where

    def let_go(self, queue: str) -> None:
        """No delivery of the queue is open."""
        self._left.pop(queue, None)

    def get(self, queue: str) -> Place:
        """Raises QueueNotFoundError."""
        try:
            return self._known[queue]
        except KeyError:
            raise not_declared(self._driver, queue) from None

    def find(self, queue: str) -> Place | None:
        """The same, or None."""
        return self._known.get(queue)

    def open_deliveries(self, queue: str) -> Place:
        """Where deliveries are settled and extended: also if the queue was undeclared meanwhile."""
        return self._left.get(queue) or self.get(queue)

    def declared(self) -> Iterator[Place]:
        """The queues to make again where they are gone."""
        return (where for where in list(self._known.values()) if not where.is_inspected)
