"""The store contract: small state that all processes share and change atomically. Read this to write a store.

A store keeps bytes under text keys; every value has a version. It belongs to a driver (``Driver.store``), and uses its
connection, file or memory. ``tasuki.testing.conformance.stores`` has a test for each clause.

 1. ``get`` returns the value and the version of the last put; None if the key is absent, deleted or expired.
 2. Values come back byte for byte. Keys are any text of 1 to ``MAX_KEY_BYTES`` bytes in UTF-8 without NUL, and no
    character of them means anything to the store.
 3. ``put`` returns the new version. The versions of one store rise strictly, also over deletion, expiry and restart.
 4. ``put(version=0)`` writes only if the key is absent; an expired key is absent.
 5. ``put(version=n)`` writes only if the key has version n and is not expired; else ConflictError, and nothing changes.
 6. Of concurrent conditional puts on one version exactly one succeeds.
 7. ``delete`` says whether the key was there; ``delete(version=n)`` as clause 5.
 8. A key with a ttl is there for at least its ttl, and gone for every verb by ttl + ``expiry_margin``, by the clock of
    the store; the caller's clock does not matter.
 9. Each put sets the ttl again; a put without one removes it.
10. ``list`` returns entries in code point order of their keys. A caller that follows the cursor sees each key that was
    there all the time exactly once, and never an expired one.
11. After a put has returned, every get and list in every process sees it or a later one.
12. ``watch`` first gives the entries, then ``CURRENT``, then changes until the store is closed. Changes of one key
    may be merged; the last one comes; the versions of a key never fall, but see 34.
13. A watch reports deletions, and expiries within ``expiry_margin`` + 1 s.
14. A watch reports a change within 1 s of its put; with ``push`` within 0.2 s on an idle machine.
15. After a lost connection or a restart of the broker a watch goes on and reports all that changed meanwhile, deletions
    included, without raising.
16. A watch without a reader holds bounded memory: at most one change for each key.
17. ``take`` grants 0 to n tokens; the sum in any window w is at most burst + rate x w over all processes.
18. If it grants none, ``wait`` is the time after which a lone caller is granted at least one.
19. A changed rate or burst holds from the next call, and never gives a second burst. ``give`` returns unused tokens,
    never above the burst.
20. ``hold`` succeeds for at most ``places`` holders at any time. It returns when the lease ends, by ``time``.
21. The same holder's hold is a renewal and takes no second place. ``release`` frees the place at once, and does nothing
    to another's.
22. A hold ends with its lease; a renewal after that is a new request, and may be refused.
23. With fewer places than holders none is added until their number has fallen.
24. ``time`` is the clock of the store, in Unix seconds; take, hold and ttl go by it. It falls by no more than the clock
    of the server does.
25. Too long a key, too large a value: StoreLimitError, and nothing changes. A full store: StoreFullError, retryable;
    delete and release still work.
26. Broker gone: BrokerUnavailableError or BrokerTimeoutError within a bound. ``outcome`` says whether a write may have
    happened; a get by version settles it.
27. A cancelled call has happened or has not; the store stays usable.
28. ``close`` is idempotent; open watches end; later calls raise BrokerUnavailableError. It opens again, in the same
    process or in a fork, with the entries that it had.
29. Durable stores keep every confirmed entry over a restart of the broker and a ``kill -9`` of all clients.
30. A killed process leaves no half write and no lock; its holds end with their leases.
31. Stores of different names share nothing, also at one broker; the same name in two processes is one store.
32. Verbs may be called from any event loop of the process where the driver's ``extend`` may (clause 11 of the driver
    contract); elsewhere from the loop that opened the driver.
33. ``put_all`` writes each entry as a put without a version does: of one key that is there twice the last value holds.
    If it raises, any of them may have been written; a key or a value that is too large lets it write none.
34. After the broker's data was put back to an earlier state, or was lost, a watch reports what the broker has now: the
    value of each key that differs, with its version, and the keys that are gone. ``put(version=n)`` and
    ``delete(version=n)`` with a version from before then change no entry that was written afterwards.

A store never retries beyond one unanswered connection, logs above debug, or catches CancelledError. Nothing but
DriverError leaves it. Times are seconds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, NamedTuple

from tasuki.contracts.values import Durability
from tasuki.errors import StoreLimitError

MAX_KEY_BYTES = 512
"""Longest key, in UTF-8."""
MAX_VALUE_BYTES = 2**20
"""Longest value that every store takes."""
MAX_PAGE = 1000
"""Most entries of one ``list``."""


class Entry(NamedTuple):
    """A value under its key."""

    key: str
    value: bytes
    version: int


class Change(NamedTuple):
    """A key has this value now; None: it is gone, and the version is the last that was seen of it."""

    key: str
    value: bytes | None
    version: int


class Current(Enum):
    """A watch gives it once, after the entries that were there when it began."""

    CURRENT = "current"


CURRENT: Final = Current.CURRENT


class Page(NamedTuple):
    """Entries in the order of their keys; ``cursor``: what the next page comes ``after``, empty at the end."""

    entries: Sequence[Entry]
    cursor: str


class Grant(NamedTuple):
    """How many tokens were granted; if none, the seconds until there is one."""

    tokens: int
    wait: float


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """Facts about a store. The conformance suite proves each of them."""

    durability: Durability = "memory"
    """What a confirmed entry survives."""
    multi_process: bool = False
    """Several processes share it."""
    push: bool = False
    """The broker tells a watch of changes; else it looks for them, at least once a second."""
    expiry_margin: float = 0.0
    """Seconds by which a key may outlive its ttl."""
    shortest_lease: float = 0.0
    """Seconds: a shorter lease of ``hold``, and a shorter ttl of a volatile key, is taken as this."""
    max_value_bytes: int = MAX_VALUE_BYTES


class Store(ABC):
    """State at one broker, under one name. Every verb may raise DriverError and nothing else."""

    def __init__(self, name: str, driver: str) -> None:
        self.name = name
        self.driver = driver
        """The id of the driver's entry; only for messages."""

    @property
    @abstractmethod
    def facts(self) -> StoreFacts:
        """What it can do, with the broker's present configuration."""

    @abstractmethod
    async def open(self) -> None:
        """Make ready what the store needs at the broker. Idempotent. The driver must be open (28)."""

    async def exists(self) -> bool:
        """Whether the broker has what ``open`` makes; makes nothing. True where the driver's own tables hold it."""
        return True

    @abstractmethod
    async def close(self) -> None:
        """End the watches. Idempotent; the driver stays open (28)."""

    @abstractmethod
    async def get(self, key: str) -> Entry | None:
        """The value under the key, and its version (1, 2, 11)."""

    @abstractmethod
    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        """Write, and return the new version (2 to 6, 8, 9).

        Args:
            key: the key.
            value: at most ``facts.max_value_bytes``.
            ttl: seconds after which it is gone; None: never.
            version: write only if the key has this version; 0: only if it is absent; None: always.

        Raises:
            ConflictError: the key has another version.
            StoreLimitError: the key or the value is too large.
            StoreFullError: there is no room.
        """

    async def put_all(self, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
        """Write up to ``MAX_PAGE`` keys and values, in few round trips where the store can (8, 9, 33).

        This default puts one after the other.

        Raises:
            StoreLimitError: a key or a value is too large; nothing was written.
            StoreFullError: there is no room for all of them.
        """
        for key, value in entries:
            self.check(key, value)
        for key, value in entries:
            await self.put(key, value, ttl=ttl)

    @abstractmethod
    async def delete(self, key: str, *, version: int | None = None) -> bool:
        """Remove the key, if it has this version; whether it was there (7). Raises ConflictError."""

    @abstractmethod
    async def list(self, prefix: str = "", *, after: str = "", limit: int = 100) -> Page:
        """Entries whose key begins with ``prefix`` and comes after ``after``: 1 to ``MAX_PAGE`` of them (10, 11)."""

    @abstractmethod
    def watch(self, prefix: str = "") -> AsyncIterator[Change | Literal[Current.CURRENT]]:
        """The entries, then ``CURRENT``, then changes (12 to 16). It ends when the store is closed, without an error.

        A reader that stops earlier closes it (``aclose``).
        """

    @abstractmethod
    async def take(self, key: str, tokens: int, *, rate: float, burst: int) -> Grant:
        """Take up to this many tokens of a bucket that holds ``burst`` and gains ``rate`` a second (17, 18, 19).

        Buckets and places are beside the entries: ``get``, ``list`` and ``watch`` do not show them.
        """

    @abstractmethod
    async def give(self, key: str, tokens: int, *, rate: float, burst: int) -> None:
        """Return tokens that were not used (19)."""

    @abstractmethod
    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        """Take or renew one of the places (20 to 23). Returns the end of the lease by ``time``; None: all are taken."""

    @abstractmethod
    async def release(self, key: str, holder: str) -> None:
        """Free the holder's place (21)."""

    @abstractmethod
    async def time(self) -> float:
        """The clock of the store, in Unix seconds (24)."""

    def check(self, key: str, value: bytes = b"") -> None:
        """Refuse what no store takes. Raises StoreLimitError (25)."""
        size = len(key.encode("utf-8", "surrogatepass"))
        if not key or size > MAX_KEY_BYTES or "\0" in key:
            raise self._limit(
                f"key {key[:40]!r} has {size} bytes, and must have 1 to {MAX_KEY_BYTES}, none of them NUL"
            )
        if not key.isascii():
            try:
                key.encode()
            except UnicodeEncodeError:
                raise self._limit(f"key {key[:40]!r} is no valid Unicode text") from None
        if len(value) > self.facts.max_value_bytes:
            most = self.facts.max_value_bytes
            raise self._limit(f"the value of key {key[:40]!r} has {len(value)} bytes, and may have {most} at most")

    def _limit(self, problem: str) -> StoreLimitError:
        return StoreLimitError(f"store {self.name!r} of driver {self.driver!r}: {problem}", driver=self.driver)
