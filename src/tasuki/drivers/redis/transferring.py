"""Transferring: finds waiting messages by their ids, and takes them out with one script."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING

from tasuki.contracts.driver import Outgoing
from tasuki.drivers.redis import scripts
from tasuki.drivers.redis.batches import MAX_OPTIONED, publishing, shown_at, transferring
from tasuki.drivers.redis.session import Session
from tasuki.drivers.toolkit.results import Found, storable
from tasuki.errors import DriverError, UnsupportedError
from tasuki.message import Message

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.link import Word

FIRST, SEARCHED = 100, 1000
"""Messages that the first script of a search examines, and a later one at most, so that others are not locked out."""
SHOWN = 200
"""Messages that one script shows."""
_BYTES = 8 * 2**20
"""Of the messages that one script reads: the server holds them all at once."""
_NUMBERS = 2**49
"""See ``queue.lua``: a place is a number, less this for each step of priority."""


def refusal(session: Session, queue: str, most: int, to: str, message: Outgoing) -> DriverError | None:
    """Why a transfer cannot be tried, or None; ``most``: bytes of the largest message. Raises DriverError."""
    source, target = session.place(queue), session.place(to)
    if session.is_cluster and source.slot != target.slot:
        text = f"queues {queue!r} and {to!r} are in two hash slots of the cluster: no script can change both"
        return UnsupportedError(text, driver=session.name, queue=queue)
    (told,) = publishing(target.spec, (message,), driver=session.name, most=most).results
    return told if isinstance(told, DriverError) else None


def fitting(count: int, size: int) -> int:
    """Messages that one script reads, if they are as large as this many with this many bytes."""
    return max(1, min(_BYTES * count // max(size, 1), SEARCHED)) if count else FIRST


async def find(session: Session, queue: str, wanted: Mapping[str, float]) -> dict[str, list[bytes]]:
    """The places of waiting messages of these ids. Raises DriverError."""
    found: dict[str, dict[bytes, None]] = {}
    """Each place once: a scan may come to one again, while its table grows or shrinks."""
    ids: list[Word] = [id.encode() for id in wanted]
    on: Word = b"0"
    most = FIRST
    while any(len(found.get(id, ())) < count for id, count in wanted.items()):
        places, theirs, on, *read = await session.ask(queue, scripts.FIND, most, on, *ids)
        most = fitting(*read)
        for place, id in zip(places, theirs, strict=True):
            found.setdefault(id.decode(), {})[place] = None
        if on == b"0":
            break
    return {id: sorted(places, key=_number) for id, places in found.items()}


def _number(place: bytes) -> int:
    return int(place) % _NUMBERS


async def show(session: Session, queue: str, ids: Collection[str]) -> list[Message]:
    """The waiting messages of these ids, the oldest first. Raises DriverError."""
    places = [
        place for found in (await find(session, queue, dict.fromkeys(storable(ids), inf))).values() for place in found
    ]
    places.sort(key=_number)
    found: list[Message] = []
    for start in range(0, len(places), SHOWN):
        part = places[start : start + SHOWN]
        answers = zip(part, *await session.ask(queue, scripts.SHOW, *part), strict=True)
        found += [shown_at(*each) for each in answers if each[1]]
    return found


def place_in(place: str) -> bytes:
    """The place that a message was shown at."""
    return place.encode(errors="surrogateescape")


async def transfer(session: Session, queue: str, to: str, found: Sequence[Found[bytes]]) -> list[int]:
    """One outcome each. Raises DriverError: transfers before it may be done."""
    source, target = session.place(queue), session.place(to)
    told: list[int] = []
    size = min(MAX_OPTIONED[source.spec.ordering], MAX_OPTIONED[target.spec.ordering])
    for start in range(0, len(found), size):
        words = transferring(found[start : start + size])
        told += await session.publish(to, scripts.TRANSFER, *words, more_keys=source.keys)
    return told
