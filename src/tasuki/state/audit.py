"""The audit: the last acts of people and programs on an installation, kept in a store.

It is a ring of ``MOST`` places with a counter for the next one, so it never grows and needs no clean-up.
"""

from __future__ import annotations

import random

import msgspec

from tasuki.contracts.state.store import MAX_PAGE, Store
from tasuki.errors import ConflictError
from tasuki.moments import Moment

MOST = 1000
"""Acts that a store keeps; the next one takes the place of the oldest."""

KEPT = 30 * 86400.0
"""Seconds for which an act is kept."""

AUDIT = "audit/"
"""What the keys of the acts begin with."""

_NEXT = "audit.next"

_TRIES = 20
"""How often the counter is tried, of which another process may be faster each time."""

_MOST_TEXT = 500


class AuditRecord(msgspec.Struct, frozen=True, rename={"client": "from"}):
    """One act: the actor, the act, its object, and the result."""

    time: Moment
    """When it ended, in Unix seconds of the store's clock."""
    actor: str
    client: str
    """Where the actor was: an address, or ``command line``."""
    act: str
    target: str
    """The id of a queue, consumer, schedule, message or batch."""
    filter: str = ""
    """Which messages of the target were meant."""
    count: int | None = None
    """Messages that it was done to; None: it is about none."""
    result: str = "done"
    batch: str = ""
    """The id of the batch that it began or changed."""
    options: str = ""
    """How it was to be done: ``concurrency 3``, ``for 30m``, ``to app:mails, rate 100/s``."""


_decoder = msgspec.json.Decoder(AuditRecord)


async def write(store: Store, record: AuditRecord) -> None:
    """Keep an act, with the time of the store. Raises DriverError."""
    place = await _next_place(store)
    texts = {
        name: getattr(record, name)[:_MOST_TEXT]
        for name in ("actor", "client", "target", "filter", "result", "options")
    }
    kept = msgspec.structs.replace(record, time=await store.time(), **texts)
    await store.put(f"{AUDIT}{place:03d}", msgspec.json.encode(kept), ttl=KEPT)


async def _next_place(store: Store) -> int:
    for _ in range(_TRIES):
        found = await store.get(_NEXT)
        number = 0 if found is None or not found.value.isdigit() else int(found.value)
        following = str((number + 1) % MOST).encode()
        try:
            await store.put(_NEXT, following, ttl=KEPT, version=0 if found is None else found.version)
        except ConflictError:
            continue
        return number % MOST
    return random.randrange(MOST)  # noqa: S311 - an act must be kept, at the cost of an older one


async def read(store: Store) -> list[AuditRecord]:
    """The acts that a store has, the newest first. Raises DriverError."""
    found: list[AuditRecord] = []
    after = ""
    while True:
        page = await store.list(AUDIT, after=after, limit=MAX_PAGE)
        for entry in page.entries:
            try:
                found.append(_decoder.decode(entry.value))
            except msgspec.DecodeError:
                continue  # another version of Tasuki wrote it
        if not (after := page.cursor):
            return sorted(found, key=lambda record: record.time, reverse=True)
