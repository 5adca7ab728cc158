"""SQLiteStore: a store in the driver's file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from math import inf
from typing import Literal, TypeVar

from tasuki.clock import Clock
from tasuki.contracts.driver import Driver
from tasuki.contracts.state.store import MAX_PAGE, Change, Current, Entry, Grant, Page, Store, StoreFacts
from tasuki.drivers.sqlite.state import reader
from tasuki.drivers.sqlite.state.changing import StoreTables, VersionConflict
from tasuki.drivers.sqlite.state.reader import FileMissingError, Read, Reader, StoreWatch
from tasuki.drivers.sqlite.thread.requests import Call, StateCall
from tasuki.drivers.sqlite.thread.writer import Writer
from tasuki.drivers.toolkit.guard import Guard
from tasuki.drivers.toolkit.stores import Watcher, key_range
from tasuki.errors import BrokerUnavailableError, ConflictError, DriverError, QueueFullError, StoreFullError

_ROW_BYTES = 1000
"""Reckoned for what an entry takes beside its value."""

T = TypeVar("T")


class SQLiteStore(Store):
    """Writes in the group commits of the driver's writer, and reads on its own thread; see the contract.

    Its clock is the machine's, as for all processes that use the file.
    """

    def __init__(self, name: str, driver: Driver, writers: Guard[Writer], readers: Guard[Reader], clock: Clock) -> None:
        super().__init__(name, driver.name)
        self._driver = driver
        self._writers, self._readers = writers, readers
        self._clock = clock
        self._reader: Reader | None = None
        """The one of the driver's open during which this was opened; None: closed."""
        self._watches: list[StoreWatch] = []

    @property
    def facts(self) -> StoreFacts:
        """As durable as the driver; other processes see changes within 0.2 s."""
        return StoreFacts(durability=self._driver.durability, multi_process=True)

    async def open(self) -> None:
        """Make the file, if it is missing, and start the thread that reads."""
        reader = self._readers.get()
        reader.start()
        await self._touch()
        self._reader = reader

    async def _touch(self) -> None:
        """Let the writer open the file, which makes it and its tables."""
        await self._writers.get().submit(Call("", lambda *_: None))

    async def close(self) -> None:
        """End the watches of this object."""
        self._reader = None
        watches, self._watches = self._watches, []
        for watch in watches:
            watch.watcher.end()

    def _open_reader(self) -> Reader:
        reader = self._readers.get()
        if reader is not self._reader:
            raise BrokerUnavailableError(
                f"store {self.name!r} of driver {self.driver!r} is not open; open it first", driver=self.driver
            )
        return reader

    async def _read(self, work: Read[T]) -> T:
        reader = self._open_reader()
        try:
            return await reader.read(work)
        except FileMissingError:
            for _ in range(2):  # the first time the writer notices it too
                with suppress(DriverError):
                    await self._touch()
            raise

    async def _write(self, work: Callable[[StoreTables], T], size: int = 0) -> T:
        """The committed result; ``size``: bytes that it adds to the file."""
        reader = self._open_reader()
        call = StateCall("", lambda file, _: work(StoreTables(file.connection, self.name, self._clock.time())))
        call.size = size
        try:
            result: T = await self._writers.get().submit(call)
        except QueueFullError as error:
            problem = f"store {self.name!r} of driver {self.driver!r}: {error}"
            raise StoreFullError(problem, driver=self.driver) from error
        reader.notify()
        return result

    async def get(self, key: str) -> Entry | None:
        """See Store."""
        self.check(key)
        return await self._read(lambda connection: reader.get(connection, self.name, key, self._clock.time()))

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        """See Store."""
        self.check(key, value)
        value = bytes(value)
        size = len(value) + _ROW_BYTES
        ttl = None if ttl == inf else ttl
        return self._agreed(key, version, await self._write(lambda tables: tables.put(key, value, ttl, version), size))

    async def put_all(self, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
        """See Store. One request to the writer, and one sweep."""
        for key, value in entries:
            self.check(key, value)
        copied = [(key, bytes(value)) for key, value in entries]
        size = sum(len(value) + _ROW_BYTES for _, value in copied)
        span = None if ttl == inf else ttl
        await self._write(lambda tables: tables.put_all(copied, span), size)

    async def delete(self, key: str, *, version: int | None = None) -> bool:
        """See Store."""
        self.check(key)
        return self._agreed(key, version, await self._write(lambda tables: tables.delete(key, version)))

    def _agreed(self, key: str, expected: int | None, result: T | VersionConflict) -> T:
        if isinstance(result, VersionConflict):
            raise ConflictError(
                f"store {self.name!r} of driver {self.driver!r}: key {key[:40]!r} has version {result}, not {expected}",
                driver=self.driver,
            )
        return result

    async def list(self, prefix: str = "", *, after: str = "", limit: int = 100) -> Page:
        """See Store. Pages end early where values are large."""
        keys, limit = key_range(prefix, after), min(max(limit, 1), MAX_PAGE)
        self._open_reader()
        if keys is None:
            return Page((), "")
        return await self._read(lambda connection: reader.page(connection, self.name, keys, limit, self._clock.time()))

    async def watch(self, prefix: str = "") -> AsyncIterator[Change | Literal[Current.CURRENT]]:
        """See Store."""
        reader = self._open_reader()
        watcher = Watcher(prefix)
        watch = StoreWatch(self.name, watcher)
        self._watches.append(watch)
        try:
            await reader.watch(watch)
            async with aclosing(watcher.read(_wait_for_reader, _FOR_EVER)) as changes:
                async for change in changes:
                    yield change
        finally:
            reader.forget(watch)
            with suppress(ValueError):
                self._watches.remove(watch)

    async def take(self, key: str, tokens: int, *, rate: float, burst: int) -> Grant:
        """See Store."""
        self.check(key)
        return await self._write(lambda tables: tables.take(key, tokens, rate, burst))

    async def give(self, key: str, tokens: int, *, rate: float, burst: int) -> None:
        """See Store."""
        self.check(key)
        await self._write(lambda tables: tables.give(key, tokens, rate, burst))

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        """See Store."""
        self.check(key)
        return await self._write(lambda tables: tables.hold(key, holder, places, lease))

    async def release(self, key: str, holder: str) -> None:
        """See Store."""
        self.check(key)
        await self._write(lambda tables: tables.release(key, holder))

    async def time(self) -> float:
        """The clock of the machine, without a read of the file."""
        self._open_reader()
        return self._clock.time()


_FOR_EVER = 3600.0


async def _wait_for_reader() -> None:
    """The thread that reads tells the watcher."""
