"""Confirms: which published messages the broker has answered for, by the tags that it counts with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tasuki.drivers.amqp.faults import ClosedError, Fate
from tasuki.drivers.amqp.protocol.envelope import id_of


class Sent(NamedTuple):
    """A message that was written: what a return of it would say, and where its fate is noted."""

    key: str
    id: bytes
    batch: Batch
    place: int


class Batch:
    """Messages that were sent together; ``done`` when the broker has answered for all, ClosedError if it cannot."""

    def __init__(self, size: int) -> None:
        self.fates: list[Fate] = ["stored"] * size
        self.left = size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def note(self, index: int, fate: Fate) -> None:
        """One more is decided."""
        if fate != "stored" and self.fates[index] == "stored":
            self.fates[index] = fate
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)


@dataclass(slots=True)
class Twins:
    """Messages under way with one routing key and id, of which some were returned."""

    sent: dict[int, Sent] = field(default_factory=dict)
    returns: int = 0
    answers: int = 0


class Confirms:
    """The messages of one channel that are not answered for yet."""

    def __init__(self) -> None:
        self._pending: dict[int, Sent] = {}
        self._last = 0
        self._oldest = 1
        self._twins: dict[tuple[str, bytes], Twins] = {}
        """By routing key and id, where one was returned and not all are answered for."""

    def sent(self, batch: Batch, messages: Sequence[tuple[str, bytes]], start: int) -> None:
        """Messages (routing key and id) are written now, in order; ``start``: the first one's place in the batch."""
        for index, (key, id) in enumerate(messages, start):
            self._last += 1
            self._pending[self._last] = Sent(key, id, batch, index)

    def answered(self, tag: int, is_multiple: bool, *, is_stored: bool) -> None:
        """The broker answers for one message, or for all up to it."""
        tags = range(self._oldest, tag + 1) if is_multiple else (tag,)
        for number in tags:
            sent = self._pending.pop(number, None)
            if sent is not None:
                if self._twins:
                    self._confirmed(sent)
                sent.batch.note(sent.place, "stored" if is_stored else "refused")
        if is_multiple:
            self._oldest = max(self._oldest, tag + 1)

    def _confirmed(self, sent: Sent) -> None:
        """One of the messages that may have been returned is answered for."""
        twins = self._twins.get((sent.key, sent.id))
        if twins is not None:
            twins.answers += 1
            if twins.answers == len(twins.sent):
                del self._twins[sent.key, sent.id]

    def returned(self, key: str, properties: bytes) -> None:
        """A message went nowhere; the confirm that follows does not mean that it is stored.

        A return carries no tag. If several messages with its id and key are under way, it is not known which of them it
        was until as many were returned; none of them may be called stored before.
        """
        id = id_of(properties)
        twins = self._twins.setdefault((key, id), Twins())
        twins.sent |= {tag: sent for tag, sent in self._pending.items() if sent.id == id and sent.key == key}
        twins.returns += 1
        for sent in twins.sent.values():
            sent.batch.fates[sent.place] = "unroutable" if twins.returns >= len(twins.sent) else "doubtful"

    def end(self, reason: ClosedError) -> None:
        """Nothing more will be answered."""
        for sent in self._pending.values():
            if not sent.batch.done.done():
                sent.batch.done.set_exception(reason)
                sent.batch.done.exception()  # its waiter may be gone
        self._pending.clear()
        self._twins.clear()
