"""Sorting: the target queue of each dead letter that a redrive moves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from tasuki.contracts.driver import Receipt, Received
from tasuki.dead.selection import Choice
from tasuki.message import Message
from tasuki.queues.dead.home import home_of
from tasuki.queues.dead.naming import Names
from tasuki.queues.queue import Queue
from tasuki.security.guard import Guard

_log = logging.getLogger("tasuki.redrive")


class Sorter:
    """Finds the queue of each letter of ``source``: ``target``, or where it came from."""

    def __init__(
        self,
        queues: Mapping[str, Queue],
        guard: Guard | None,
        source: Queue,
        target: Queue | None,
        choice: Choice,
        now: float,
    ) -> None:
        self._queues, self._guard = queues, guard
        self._source, self._target, self._choice, self._now = source, target, choice, now
        self._forbidden: set[str] = set()
        self._sought = set(choice.names)
        self._taken: set[str] = set()
        """Names of which a letter goes: none takes two."""
        self.takes: Callable[[Queue], bool] = lambda _: True
        """Whether letters of this queue are to be moved; the others stay."""
        self.left: list[Receipt] = []
        """Of received messages without a target, or not chosen, held until the end: else they come again first."""

    @property
    def names(self) -> Names:
        """The names of the letters that are wanted; empty: all are."""
        return self._choice.names

    @property
    def cause(self) -> str:
        """The one cause of all chosen letters; empty: it is not known."""
        return self._choice.cause

    @property
    def has_all(self) -> bool:
        """Whether a letter of each name that was asked for has come, so that no more need be looked at."""
        return bool(self._choice.names) and not self._sought

    def target_of(self, letter: Message) -> Queue | None:
        """Where a letter goes; None: it stays."""
        name = self.names.of(letter)
        self._sought.discard(name)
        if name in self._taken or not self._choice.takes(letter, self._source, self._now):
            return None
        queue = self._target or home_of(letter, self._source, self._queues)
        if queue is None or not self._allows(queue) or not self.takes(queue):
            return None
        if name:
            self._taken.add(name)
        return queue

    def by_queue(self, batch: Sequence[Received]) -> dict[Queue, list[Received]]:
        """Received letters by their target queue; ``left`` gets the others."""
        found: dict[Queue, list[Received]] = {}
        for received in batch:
            queue = self.target_of(received)
            if queue is None:
                self.left.append(received.receipt)
            else:
                found.setdefault(queue, []).append(received)
        return found

    def again(self) -> None:
        """Look at all letters from the beginning."""
        self._sought = set(self._choice.names)
        self._choice.unclear = 0

    def _allows(self, queue: Queue) -> bool:
        if self._guard is None or self._guard.decide("queue.publish.queue", queue.id).allowed:
            return True
        self._forbidden.add(queue.id)
        return False

    def report(self) -> None:
        """Log how many letters stay because the choice could not be asked about them.

        Raises PolicyDeniedError: for the first queue that the application may not publish to.
        """
        for id in sorted(self._forbidden):
            assert self._guard is not None
            self._guard.publish(id)
        if self._choice.unclear:
            say = "%d messages stay: the expression cannot be asked about them, as in: %s"
            _log.warning(say, self._choice.unclear, self._choice.problem, extra={"queue": self._source.id})
