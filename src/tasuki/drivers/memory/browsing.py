"""Browsing: counts the causes of waiting messages, and transfers waiting messages to another queue."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from operator import attrgetter

from tasuki.contracts.driver import Causes, Outgoing, Where
from tasuki.contracts.values import NEWEST_IDS, RECENT, RECENT_PARTS, CauseCount
from tasuki.drivers.memory.queue import MemoryQueue
from tasuki.drivers.memory.slots import Slot, by_number
from tasuki.drivers.toolkit.results import FULL, MISSING, Found, Outcome
from tasuki.message import Message, cause_in


def of_cause(source: MemoryQueue, cause: str) -> list[Slot]:
    """The waiting messages of one cause, the oldest first."""
    return sorted((slot for slot in source.peek() if cause and cause_in(slot.headers) == cause), key=by_number)


def count(source: MemoryQueue, most: int, also: Collection[str], now: float, started: float) -> Causes:
    """The waiting messages by their causes; ``started``: the Unix time of the start of the clock of ``now``."""
    found: dict[str, list[Slot]] = {}
    for slot in source.peek():
        found.setdefault(cause_in(slot.headers), []).append(slot)
    unmarked = len(found.pop("", ()))
    counts = sorted((_counted(cause, slots, now, started) for cause, slots in found.items()), key=attrgetter("rank"))
    kept, rest = counts[:most], list[CauseCount]()
    for each in counts[most:]:
        (kept if each.cause in also else rest).append(each)
    return Causes(tuple(kept), CauseCount.together(rest), unmarked)


def _counted(cause: str, slots: list[Slot], now: float, started: float) -> CauseCount:
    times = [slot.published_at for slot in slots]
    newest = sorted(slots, key=by_number, reverse=True)[:NEWEST_IDS]
    shown = newest[0].shown(now)
    return CauseCount(
        cause,
        len(slots),
        min(times) + started,
        max(times) + started,
        _recent(times, now),
        Message(shown.id, b"", shown.headers),
        tuple(slot.id for slot in newest),
    )


def _recent(times: Iterable[float], now: float) -> tuple[int, ...]:
    parts = [0] * RECENT_PARTS
    for at in times:
        if at > now - RECENT:
            parts[min(int((at - now + RECENT) * RECENT_PARTS / RECENT), RECENT_PARTS - 1)] += 1
    return tuple(parts)


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
