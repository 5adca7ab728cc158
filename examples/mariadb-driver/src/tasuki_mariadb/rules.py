"""Rules of queues in tables, without I/O: room and duplicates, the front of each key, what ends, what fits together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from tasuki.contracts.driver import Ack, Move, Nack, Outgoing, Receipt, Settlement
from tasuki.drivers.toolkit.results import FULL, STALE

K = TypeVar("K")
N = TypeVar("N")


def choose(batch: Sequence[Outgoing], known: set[str] | None, room: float) -> tuple[list[Outgoing], int]:
    """Which messages are to be stored, and how many of the batch, from its start, are then taken care of.

    A known id is taken care of without room; ``known`` gets the ids of the chosen messages. None: no id matters.
    """
    chosen: list[Outgoing] = []
    for index, message in enumerate(batch):
        matters = known is not None and message.deduplicate
        if known is not None and matters and message.id in known:
            continue
        if len(chosen) >= room:
            return chosen, index
        chosen.append(message)
        if known is not None and matters:
            known.add(message.id)
    return chosen, len(batch)


class Moved(NamedTuple):
    """A batch of moves to one queue: an outcome each (see ``toolkit.moves``), the ended deliveries, the messages."""

    outcomes: list[int]
    ended: list[Receipt]
    stored: list[Outgoing]


def move(
    moves: Sequence[Move], held: Collection[Receipt], known: set[str] | None, room: float, *, is_same: bool
) -> Moved:
    """What becomes of moves, each as a whole.

    ``known`` and ``room`` are of the queue that they go to; ``is_same``: they come from there, so that each makes room.
    """
    moved = Moved([], [], [])
    for each in moves:
        seen = None if known is None else {*known}
        chosen, taken = choose(each.messages, seen, room + is_same)
        is_whole = taken == len(each.messages)
        moved.outcomes.append(STALE if each.receipt not in held else 0 if is_whole else FULL)
        if not moved.outcomes[-1]:
            known, room = seen, room + is_same - len(chosen)
            moved.ended.append(each.receipt)
            moved.stored.extend(chosen)
    return moved


class Settled(NamedTuple):
    """A batch of settlements: the acked receipts; the requeued ones by (is a nack, delay); the stale ones."""

    done: list[Receipt]
    back: dict[tuple[bool, float], list[Receipt]]
    stale: list[Receipt]


def settle(batch: Sequence[Settlement], held: Collection[Receipt]) -> Settled:
    """What becomes of deliveries: of two settlements of one delivery the first counts. ``held`` can be settled."""
    settled = Settled([], {}, [])
    seen: set[Receipt] = set()
    for item in batch:
        if item.receipt in seen or item.receipt not in held:
            settled.stale.append(item.receipt)
        elif isinstance(item, Ack):
            settled.done.append(item.receipt)
        else:
            settled.back.setdefault((isinstance(item, Nack), item.delay), []).append(item.receipt)
        seen.add(item.receipt)
    return settled


def within(found: Iterable[tuple[N, int]], most: int) -> list[N]:
    """The messages of a claim, from the first on, until their bodies have ``most`` bytes; ``found``: number, size."""
    seqs: list[N] = []
    for seq, size in found:
        seqs.append(seq)
        most -= size
        if most < 0:
            break
    return seqs


def fronts(found: Iterable[tuple[N, K, bool]], heads: Mapping[K, N]) -> tuple[list[N], list[N]]:
    """Which messages must wait behind their key, and which come to its front.

    ``found``: number, key, and whether it is held, of all messages of these keys that do not wait behind their key;
    ``heads``: the first message of each key.
    """
    shown = {seq: (key, is_held) for seq, key, is_held in found}
    held = {key for key, is_held in shown.values() if is_held}
    demoted = [seq for seq, (key, is_held) in shown.items() if not is_held and (key in held or heads[key] != seq)]
    promoted = [seq for key, seq in heads.items() if key not in held and seq not in shown]
    return demoted, promoted
