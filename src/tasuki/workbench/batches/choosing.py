"""Chooser: which letters a batch is about, as it sees them one after another."""

from __future__ import annotations

from collections.abc import Collection

from tasuki.app.dead.choice import Choice
from tasuki.clock import Clock
from tasuki.message import BATCH, Message, is_cause
from tasuki.queues.dead.groups import KEYS
from tasuki.queues.dead.letter import letter_in
from tasuki.queues.dead.naming import Names
from tasuki.queues.queue import Queue
from tasuki.workbench.batches.rules.batch import Batch


def cause_of(batch: Batch) -> str:
    """The one cause of all letters of a batch; empty: it is not known."""
    if batch.ids:
        return ""
    if batch.group is not None and batch.group[0] == "cause" and is_cause(batch.group[1]):
        return batch.group[1]
    return Choice(batch.where).cause


class Chooser:
    """For one pass through the queue; ``begin`` is another one. Raises ValueError: it cannot be asked; says why."""

    def __init__(self, batch: Batch, source: Queue, clock: Clock, ids: Collection[str]) -> None:
        self._batch, self._source, self._clock = batch, source, clock
        if batch.group is not None and batch.group[0] not in KEYS:  # of another version
            raise ValueError(f"dead letters are grouped by {', '.join(KEYS)}, not by {batch.group[0]!r}")
        self._key = KEYS[batch.group[0]] if batch.group is not None else None
        self.names = Names(ids)
        """Of the letters that were chosen one by one."""
        self.begin()

    def begin(self) -> None:
        """Forget all that it has seen."""
        self._choice = Choice(self._batch.where, self.names, masks=self._batch.masks)
        self._sought = set(self.names)
        self._taken: set[str] = set()
        """Names of which a letter is one of the batch: none takes two."""
        self.passed = 0
        """Letters that were not chosen."""

    @property
    def unclear(self) -> int:
        """Letters that could not be judged."""
        return self._choice.unclear

    @property
    def has_all(self) -> bool:
        """Whether each letter of the chosen ones has been seen."""
        return bool(self.names) and not self._sought

    def takes(self, message: Message) -> bool:
        """Whether a letter is one of the batch: chosen, and not one that the batch has moved and that came back."""
        is_mine = message.headers.get(BATCH) == self._batch.id
        name = "" if is_mine else self.names.of(message)
        self._sought.discard(name)
        if is_mine or name in self._taken or not self._holds(message):
            self.passed += 1
            return False
        if name:
            self._taken.add(name)
        return True

    def _holds(self, message: Message) -> bool:
        if self._key is not None:
            assert self._batch.group is not None
            if self._key(letter_in(message, self._source.id)) != self._batch.group[1]:
                return False
        return self._choice.takes(message, self._source, self._clock.time())
