"""NATSStore: the verbs of the store contract, as reads and conditional writes of a stream."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any, Literal, TypeVar

from tasuki.contracts.state.store import (
    MAX_PAGE,
    MAX_VALUE_BYTES,
    Change,
    Current,
    Entry,
    Grant,
    Page,
    Store,
    StoreFacts,
)
from tasuki.contracts.values import Durability
from tasuki.drivers.nats.protocol.address import Address
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.names import Names
from tasuki.drivers.nats.queues.setup import Storage
from tasuki.drivers.nats.state.records import (
    MARKED,
    Record,
    StoreSubjects,
    read_bucket,
    read_places,
    write_bucket,
    write_places,
)
from tasuki.drivers.nats.state.stream import Step, StoreStream
from tasuki.drivers.nats.state.watch_connection import WatchConnection
from tasuki.drivers.toolkit import limits
from tasuki.drivers.toolkit.guard import Guard
from tasuki.drivers.toolkit.limits import Bucket
from tasuki.drivers.toolkit.reconnecting import Reconnecting
from tasuki.drivers.toolkit.stores import Opened
from tasuki.drivers.toolkit.threaded import LeaseThread
from tasuki.errors import ConflictError

T = TypeVar("T")


class Connections:
    """Of one driver; ``opened`` is called on the loop that opens it."""

    def __init__(
        self,
        guard: Guard[Reconnecting[Connection]],
        leases: LeaseThread[Reconnecting[Connection]],
        address: Address,
        names: Names,
        storage: Storage,
        durability: Callable[[], Durability],
    ) -> None:
        self._guard = guard
        self._leases = leases
        self._home: asyncio.AbstractEventLoop | None = None
        self.address = address
        self.names = names
        self.storage = storage
        self.durability = durability
        self.max_payload = 0
        """Bytes of the largest message of the server; 0: not known yet."""

    @property
    def is_open(self) -> bool:
        """Whether the driver is open in this process."""
        return self._guard.current is not None

    def opened(self) -> None:
        """The driver's connection belongs to the running loop."""
        self._home = asyncio.get_running_loop()

    async def reach(self, work: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        """Run work with the driver's connection; in another loop than its own, with the one of the lease thread."""
        link = self._guard.get()

        async def run(link: Reconnecting[Connection]) -> T:
            connection = await link.get()
            self.max_payload = connection.max_payload
            return await work(connection)

        return await (run(link) if asyncio.get_running_loop() is self._home else self._leases.run(run))


MOST_KEPT = 4
"""Lists under way whose keys are kept; they go with their last page, and the oldest one before another one begins."""
KEPT = 60.0
"""Seconds for which keys are kept at most, for a list that nothing continues."""
MOST_NEW = 32
"""Messages that are added to the keys of a list; after more, reading all of them takes less."""


@dataclass(slots=True)
class _Keys:
    """The keys of one prefix, sorted."""

    connection: Connection
    created: str
    """When the stream was made."""
    last: int
    """The sequence up to which they are known."""
    keys: list[str]


class Listing:
    """The keys of one store in their order, which pages after the first one do not read again.

    Only a write adds a key, so a page asks for the first message that was written below its prefix since the keys were
    read. Most often there is none; a few are added, and after many the keys are read again. Keys that are gone stay,
    and have no entry when the page reads its values.
    """

    def __init__(self, stream: StoreStream, subjects: StoreSubjects) -> None:
        self._stream = stream
        self._subjects = subjects
        self._kept: dict[str, _Keys] = {}

    async def keys(self, connection: Connection, prefix: str, after: str) -> tuple[list[str], float]:
        """The keys behind ``after``, also of entries that are gone, and the server's time before."""
        kept = self._kept.get(prefix) if after else None
        now = None if kept is None else await self._renew(connection, prefix, kept)
        if kept is None or now is None:
            kept, now = await self._read(connection, prefix)
        return kept.keys[bisect_right(kept.keys, after) :], now

    def end(self, prefix: str) -> None:
        """The last page of a list was read."""
        self._kept.pop(prefix, None)

    async def _read(self, connection: Connection, prefix: str) -> tuple[_Keys, float]:
        found = await self._stream.names(connection, self._subjects.entries(prefix))
        keys = sorted(key for subject in found.subjects if (key := self._subjects.key(subject)).startswith(prefix))
        self._kept.pop(prefix, None)
        while len(self._kept) >= MOST_KEPT:
            self._kept.pop(next(iter(self._kept)), None)
        kept = self._kept[prefix] = _Keys(connection, found.created, found.last, keys)
        asyncio.get_running_loop().call_later(KEPT, self._expire, prefix, id(kept))
        return kept, found.now

    def _expire(self, prefix: str, number: int) -> None:
        if id(self._kept.get(prefix)) == number:
            self.end(prefix)

    async def _renew(self, connection: Connection, prefix: str, kept: _Keys) -> float | None:
        """Add newer keys; returns the server's time before, None if all must be read again."""
        if kept.connection is not connection:
            return None
        first: float | None = None
        for _ in range(MOST_NEW):
            found = await self._stream.newer(connection, self._subjects.entries(prefix), kept.last + 1)
            if found is None or found.created != kept.created or found.last < kept.last:
                return None
            first = found.now if first is None else first
            if not found.subjects:
                return first
            kept.last = max(kept.last, found.last)
            key = self._subjects.key(found.subjects[0])
            place = bisect_left(kept.keys, key)
            if key.startswith(prefix) and kept.keys[place : place + 1] != [key]:
                insort(kept.keys, key)
        return None


MARGIN = 1.0
"""Seconds by which a put with a version may come too late: the entry expires between its check and the write."""
HEADERS = 512
"""Bytes of a message that its headers may need."""
_PART = 64
"""Entries that one request of a list reads."""
_PAGE_BYTES = 4 * 2**20
"""Bytes of values after which a page ends."""
_POLL = 60.0
"""Seconds between two polls of a reader: its watch brings every change, so there is nothing to poll for."""


class NATSStore(Store):
    """A store in its own stream; its clock is the server's."""

    def __init__(self, name: str, driver: str, connections: Connections) -> None:
        super().__init__(name, driver)
        self._connections = connections
        self._subjects = StoreSubjects(connections.names, name)
        self._stream = StoreStream(name, driver, self._subjects, connections.storage)
        self._listing = Listing(self._stream, self._subjects)
        self._opened: Opened[WatchConnection] = Opened(name, driver)

    @property
    def facts(self) -> StoreFacts:
        """Durability by the storage, the replicas and the server's syncing, as far as it is known."""
        payload = self._connections.max_payload
        return StoreFacts(
            durability=self._connections.durability(),
            multi_process=True,
            push=True,
            expiry_margin=MARGIN,
            max_value_bytes=min(MAX_VALUE_BYTES, payload - HEADERS) if payload else MAX_VALUE_BYTES,
        )

    async def open(self) -> None:
        """Make the stream, or check the one that is there."""
        await self._connections.reach(self._stream.begin)
        self._opened.open()

    async def exists(self) -> bool:
        """Whether there is a stream."""
        return await self._connections.reach(self._stream.exists)

    async def close(self) -> None:
        """End the watches, in all loops."""
        for loop, watching in self._opened.close():
            if loop is asyncio.get_running_loop():
                await watching.close()
            else:
                with suppress(RuntimeError):  # the loop is closed, and the watches with it
                    asyncio.run_coroutine_threadsafe(watching.close(), loop)

    async def get(self, key: str) -> Entry | None:
        """See Store. The time of the server is asked only for an entry with a ttl."""
        subject = self._entry(key)

        async def get(connection: Connection) -> Record | None:
            record = await self._stream.read_last(connection, subject)
            if record is None or record.removed or record.ttl == inf:
                return None if record is None or record.removed else record
            (record,), now = await self._stream.read(connection, subject)
            return record if record is not None and record.lives(now) else None

        found = await self._connections.reach(get)
        return None if found is None else Entry(key, found.value, found.version)

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        """See Store. Without a version, or for an absent key, in one round trip; else after a read."""
        subject, data = self._entry(key, value), bytes(value)
        span = inf if ttl is None else max(float(ttl), 0.0)

        def decide(record: Record | None, now: float) -> Step[None]:
            self._expect(key, version, record, now)
            return Step(None, data, span)

        async def put(connection: Connection) -> int:
            if not version:
                expected = None if version is None else 0
                written = await self._stream.write(connection, subject, data, ttl=span, expected=expected)
                if written is not None:
                    return written
            return (await self._stream.change(connection, subject, decide))[1]

        return await self._connections.reach(put)

    async def put_all(self, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
        """See Store. Several at a time."""
        for key, value in entries:
            self.check(key, value)
        left = list(dict(entries).items())
        while left:
            part, left = left[:_PART], left[_PART:]
            await asyncio.gather(*(self.put(key, value, ttl=ttl) for key, value in part))

    async def delete(self, key: str, *, version: int | None = None) -> bool:
        """See Store. A note of the removal stays for a minute, for the watches."""
        subject = self._entry(key)

        def decide(record: Record | None, now: float) -> Step[bool]:
            self._expect(key, version, record, now)
            if record is None or not record.lives(now):
                return Step(False)
            return Step(True, b"", MARKED, removed=record.version, frees=True)

        return (await self._connections.reach(lambda connection: self._stream.change(connection, subject, decide)))[0]

    def _expect(self, key: str, version: int | None, record: Record | None, now: float) -> None:
        found = record.version if record is not None and record.lives(now) else 0
        if version is not None and found != version:
            problem = f"key {key[:40]!r} has version {found}, not {version}"
            raise ConflictError(f"store {self.name!r} of driver {self.driver!r}: {problem}", driver=self.driver)

    async def list(self, prefix: str = "", *, after: str = "", limit: int = 100) -> Page:
        """See Store. The first page reads the names of all entries below the whole parts of the prefix."""
        self._opened.check()
        most = min(max(limit, 1), MAX_PAGE)
        return await self._connections.reach(lambda connection: self._list(connection, prefix, after, most))

    async def _list(self, connection: Connection, prefix: str, after: str, limit: int) -> Page:
        keys, now = await self._listing.keys(connection, prefix, after)
        entries: list[Entry] = []
        old: list[tuple[str, int]] = []
        size = 0
        while keys and len(entries) <= limit and size < _PAGE_BYTES:
            part, keys = keys[: min(_PART, limit + 1 - len(entries))], keys[min(_PART, limit + 1 - len(entries)) :]
            subjects = [self._subjects.entry(key) for key in part]
            records, _ = await self._stream.read(connection, *subjects)
            for key, subject, record in zip(part, subjects, records, strict=True):
                if record is not None and record.lives(now):
                    entries.append(Entry(key, record.value, record.version))
                    size += len(record.value)
                elif record is not None and record.ends < now:
                    old.append((subject, record.sequence))
        await self._stream.erase_all(connection, old)
        if len(entries) > limit:
            return Page(entries[:limit], entries[limit - 1].key)
        if keys and entries:
            return Page(entries, entries[-1].key)
        self._listing.end(prefix)
        return Page(entries, "")

    async def watch(self, prefix: str = "") -> AsyncIterator[Change | Literal[Current.CURRENT]]:
        """See Store. It begins with an answer of the server, or with the error that there is none."""
        await self.time()
        watching = self._opened.here(self._new_watching)
        watcher = watching.join(prefix)
        try:
            async for change in watcher.read(_nothing, _POLL):
                yield change
        finally:
            watching.leave(watcher)

    def _new_watching(self) -> WatchConnection:
        return WatchConnection(
            self._connections.address, self._stream, self._subjects, lambda: self._connections.is_open
        )

    async def take(self, key: str, tokens: int, *, rate: float, burst: int) -> Grant:
        """See Store. Two round trips, and two more whenever another process was faster."""

        def decide(record: Record | None, now: float) -> Step[Grant]:
            stored, bucket = _filled(record, now, rate, burst)
            grant, left = limits.take(bucket, tokens)
            same = stored is not None and (stored.rate, stored.burst) == (rate, burst)
            return Step(grant) if same and not grant.tokens else _kept(grant, left)

        return await self._change(self._subjects.bucket(self._checked(key)), decide)

    async def give(self, key: str, tokens: int, *, rate: float, burst: int) -> None:
        """See Store."""

        def decide(record: Record | None, now: float) -> Step[None]:
            _, bucket = _filled(record, now, rate, burst)
            return _kept(None, limits.give(bucket, tokens))

        await self._change(self._subjects.bucket(self._checked(key)), decide)

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        """See Store."""

        def decide(record: Record | None, now: float) -> Step[float | None]:
            held = read_places(record, now)
            if holder not in held and len(held) >= places:
                return Step(None)
            held[holder] = now + max(lease, 0.0)
            return Step(held[holder], write_places(held), max(held.values()) - now)

        return await self._change(self._subjects.places(self._checked(key)), decide)

    async def release(self, key: str, holder: str) -> None:
        """See Store."""

        def decide(record: Record | None, now: float) -> Step[None]:
            held = read_places(record, now)
            if held.pop(holder, None) is None:
                return Step(None)
            if not held:
                return Step(None, b"", frees=True)
            return Step(None, write_places(held), max(held.values()) - now, frees=True)

        await self._change(self._subjects.places(self._checked(key)), decide)

    async def _change(self, subject: str, decide: Callable[[Record | None, float], Step[T]]) -> T:
        return (await self._connections.reach(lambda connection: self._stream.change(connection, subject, decide)))[0]

    async def time(self) -> float:
        """See Store."""
        self._opened.check()
        return (await self._connections.reach(self._stream.read))[1]

    def _checked(self, key: str, value: bytes = b"") -> str:
        self._opened.check()
        self.check(key, value)
        return key

    def _entry(self, key: str, value: bytes = b"") -> str:
        return self._subjects.entry(self._checked(key, value))


def _filled(record: Record | None, now: float, rate: float, burst: int) -> tuple[Bucket | None, Bucket]:
    """The stored bucket, and what it has become by now."""
    stored = read_bucket(record)
    return stored, limits.at(stored, now, rate, burst)


def _kept(result: T, bucket: Bucket) -> Step[T]:
    """Store a bucket, for as long as it must not be forgotten."""
    return Step(result, write_bucket(bucket), bucket.lasts)


async def _nothing() -> None:
    """There is nothing to poll for."""
