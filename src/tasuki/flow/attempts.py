"""Attempts: the keys under which a store keeps the records of failed attempts, and how they are read.

Each attempt has its own key, so that a failure is one write without a read. The keys of a message form a ring: a new
record replaces the oldest.
"""

from __future__ import annotations

from tasuki.contracts.state.store import Store
from tasuki.queues.dead.attempts import KEPT, AttemptRecord, decode, newest
from tasuki.state.records import part_of

ATTEMPTS = "attempts/"
"""Prefix of the keys, by the name of the queue at the broker and the id of the message."""
TTL = 86400.0
"""Seconds for which a record is kept beyond the next attempts: a message that has ended needs it no more."""
_MOST = 100
"""Records that are read of a message: it has ``KEPT``, and as many for each time that it was redriven."""


def attempts_prefix(queue: str, id: str) -> str:
    """What the keys of a message begin with."""
    return f"{ATTEMPTS}{queue}/{part_of(id)}/"


def attempt_key(queue: str, id: str, record: AttemptRecord) -> str:
    """The key of one record."""
    return f"{attempts_prefix(queue, id)}{record.round}.{record.attempt % KEPT}"


def lifetime(delay: float) -> float:
    """Seconds for which the record of an attempt is needed: until ``KEPT`` more, each ``delay`` seconds after another.

    A dead letter has copies of the last ones.
    """
    return TTL + KEPT * delay


async def read_attempts(store: Store, queue: str, id: str) -> list[AttemptRecord]:
    """The last failed attempts of a message, oldest first. Raises DriverError."""
    prefix = attempts_prefix(queue, id)
    page = await store.list(prefix, limit=_MOST)
    # A queue whose name begins with this one and a slash has longer keys with the same prefix.
    own = (entry.value for entry in page.entries if "/" not in entry.key[len(prefix) :])
    return newest(record for value in own if (record := decode(value)) is not None)
