"""Transferring: messages that wait in one queue leave it together with storing others for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tasuki.drivers.sqlite.encoding import Encoded
from tasuki.drivers.sqlite.store.store import Store
from tasuki.drivers.sqlite.thread.requests import Call, size_of
from tasuki.drivers.toolkit.moves import FULL, MISSING


class Leaving(NamedTuple):
    """A message that is to leave, by its number and its id."""

    seq: int
    id: str


def transferring(queue: str, to: str, leaving: Sequence[Leaving], work: Encoded) -> Call:
    """The request; row for row, ``work`` has the messages to store for ``leaving``. Its result is one outcome each."""
    return Call(queue, lambda store, number: _transfer(store, number, to, leaving, work), size_of(work))


def _transfer(store: Store, queue: int, to: str, leaving: Sequence[Leaving], work: Encoded) -> list[int]:
    target = store.queues.find(to)
    waiting = {row[0]: row for row in store.purging.waiting(queue, leaving)}
    tally = store.queues.tally(target)
    room = len(leaving) if tally.max_length is None else tally.max_length - tally.total
    told: list[int] = []
    chosen: list[int] = []
    for index, (seq, _) in enumerate(leaving):
        if seq not in waiting:
            told.append(MISSING)
        elif room + (target == queue) <= 0:
            told.append(FULL)
        else:
            told.append(0)
            chosen.append(index)
            room -= target != queue
    store.purging.take_out(queue, [waiting[leaving[index].seq] for index in chosen])
    rows = [work.rows[index] for index in chosen]
    delays = {place: work.delays[index] for place, index in enumerate(chosen) if index in work.delays}
    lanes = {place: work.lanes[index] for place, index in enumerate(chosen) if index in work.lanes}
    store.publish(target, rows, delays, range(len(rows)), lanes)
    return told
