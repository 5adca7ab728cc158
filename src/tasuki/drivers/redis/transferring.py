"""Transferring: finds waiting messages by their ids, and takes them out with one script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tasuki.contracts.driver import Outgoing
from tasuki.drivers.redis import scripts
from tasuki.drivers.redis.batches import MAX_OPTIONED, publishing, transferring
from tasuki.drivers.redis.session import Session
from tasuki.drivers.toolkit.transferring.transfers import Found
from tasuki.errors import DriverError, UnsupportedError

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.link import Word

SEARCHED = 1000
"""Messages that one script of a search examines, so that other scripts are not locked out."""
_NUMBERS = 2**49
"""See ``queue.lua``: a place is a number, less this for each step of priority."""


def can_transfer(session: Session, queue: str, to: str) -> bool:
    """Not where the queues are in two slots of a cluster."""
    source, target = session.known.find(queue), session.known.find(to)
    if source is None or target is None:
        return False
    return not session.is_cluster or source.slot == target.slot


def refusal(session: Session, queue: str, most: int, to: str, message: Outgoing) -> DriverError | None:
    """Why a transfer cannot be tried, or None; ``most``: bytes of the largest message. Raises DriverError."""
    spec = session.place(to).spec
    if not can_transfer(session, queue, to):
        text = f"queues {queue!r} and {to!r} are in two hash slots of the cluster: no script can change both"
        return UnsupportedError(text, driver=session.name, queue=queue)
    (told,) = publishing(spec, (message,), driver=session.name, most=most).results
    return told if isinstance(told, DriverError) else None


async def find(session: Session, queue: str, wanted: Mapping[str, int]) -> dict[str, list[bytes]]:
    """The places of waiting messages of these ids. Raises DriverError."""
    found: dict[str, list[bytes]] = {}
    ids: list[Word] = [id.encode() for id in wanted]
    on: Word = b"0"
    while any(len(found.get(id, ())) < count for id, count in wanted.items()):
        places, theirs, on = await session.ask(queue, scripts.FIND, SEARCHED, on, *ids)
        for place, id in zip(places, theirs, strict=True):
            found.setdefault(id.decode(), []).append(place)
        if on == b"0":
            break
    for places in found.values():
        places.sort(key=lambda place: int(place) % _NUMBERS)
    return found


async def transfer(session: Session, queue: str, to: str, found: Sequence[Found[bytes]]) -> list[int]:
    """One outcome each. Raises DriverError: transfers before it may be done."""
    source, target = session.place(queue), session.place(to)
    told: list[int] = []
    size = min(MAX_OPTIONED[source.spec.ordering], MAX_OPTIONED[target.spec.ordering])
    for start in range(0, len(found), size):
        words = transferring(found[start : start + size])
        told += await session.publish(to, scripts.TRANSFER, *words, more_keys=source.keys)
    return told
