"""Transferring: messages that wait in one queue leave it together with storing others for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from tasuki.contracts.driver import Outgoing, Where
from tasuki.drivers.memory.queue import MemoryQueue
from tasuki.drivers.memory.slots import Slot, by_number
from tasuki.drivers.toolkit.moves import FULL, MISSING, Found, Outcome


def find(source: MemoryQueue, ids: Collection[str]) -> list[Slot]:
    """The waiting messages of these ids, the oldest first."""
    return sorted((slot for slot in source.peek() if slot.id in ids), key=by_number)


def locate(source: MemoryQueue, ids: Collection[str]) -> dict[str, Where]:
    """Where the messages of these ids are."""
    found: dict[str, Where] = {slot.id: "delayed" for _, _, slot in source.delayed if slot.id in ids}
    found |= {slot.id: "ready" for slot in source.peek() if slot.id in ids and not slot.due}
    return found | {slot.id: "held" for slot in source.held.values() if slot.id in ids}


def transfer(
    source: MemoryQueue, target: MemoryQueue, found: Sequence[Found[int]], store: Callable[[Outgoing], object]
) -> list[Outcome]:
    """Take out messages by their numbers and ids, and ``store`` others in ``target``, where there is room."""
    told: list[Outcome] = []
    gone: set[int] = set()
    waiting = {slot.number: slot.id for slot in source.peek()}
    for number, id, message in found:
        if waiting.get(number) != id:
            told.append(MISSING)
            continue
        source.total -= 1
        if is_full := target.spec.max_length is not None and target.total >= target.spec.max_length:
            source.total += 1
        else:
            gone.add(number)
            store(message)
        told.append(FULL if is_full else None)
    source.take_out(gone)
    return told
