"""PostgresStore: a store in the driver's schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from math import inf
from typing import Any, Literal

from tasuki.contracts.driver import Driver
from tasuki.contracts.state.store import MAX_PAGE, Change, Current, Entry, Grant, Page, Store, StoreFacts
from tasuki.drivers.postgres.session import Session
from tasuki.drivers.postgres.state.upkeep import NO_END
from tasuki.drivers.toolkit.guard import Guard
from tasuki.drivers.toolkit.stores import Watcher, key_range
from tasuki.errors import BrokerUnavailableError, ConflictError, QueueFullError, StoreFullError

MAX_PAGE_BYTES = 16 * 2**20
"""A page ends after this many bytes of values, so that memory stays bounded, and the server answers in time."""

MOST_LOCKED = 50
"""Keys that one transaction locks; the server has room for 64 locks a connection, which all of them share."""

TIME = "SELECT extract(epoch FROM clock_timestamp())::float8"
GET = "SELECT value, version FROM {}.store_get($1, $2)"
PUT = "SELECT {}.store_put($1, $2, $3, $4, $5)"
PUT_ALL = "SELECT {}.store_put_all($1, $2, $3, $4)"
DELETE = "SELECT {}.store_delete($1, $2, $3)"
LIST = "SELECT key, value, version FROM {}.store_list($1, $2, $3, $4, $5)"
TAKE = "SELECT granted, wait FROM {}.store_take($1, $2, $3, $4, $5, $6)"
HOLD = "SELECT {}.store_hold($1, $2, $3, $4, $5)"
RELEASE = "SELECT {}.store_release($1, $2, $3)"


class PostgresStore(Store):
    """One function a verb, on the driver's connections; its clock is the server's. See the contract."""

    def __init__(self, name: str, driver: Driver, sessions: Guard[Session]) -> None:
        super().__init__(name, driver.name)
        self._driver = driver
        self._sessions = sessions
        self._session: Session | None = None
        """The one of the driver's open during which this was opened; None: closed."""
        self._watchers: list[Watcher] = []

    @property
    def facts(self) -> StoreFacts:
        """As durable as the driver; other processes see changes within half a second."""
        return StoreFacts(durability=self._driver.durability, multi_process=True)

    async def open(self) -> None:
        """Make the tables, if they are missing."""
        session = self._sessions.get()
        await session.ask("", GET, self.name, "")  # the session makes missing parts of the schema again
        session.stores.start()
        self._session = session

    async def close(self) -> None:
        """End the watches of this object."""
        self._session = None
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.end()

    def _open_session(self) -> Session:
        session = self._sessions.get()
        if session is not self._session or not session.is_usable:
            raise BrokerUnavailableError(
                f"store {self.name!r} of driver {self.driver!r} is not open; open it first", driver=self.driver
            )
        return session

    async def _ask(self, sql: str, *arguments: Any, is_put: bool = False) -> Any:
        """The rows; from another loop than the driver's over its connection for leases.

        ``is_put``: it counts only if no promotion of a standby can undo it.
        """
        session = self._open_session()
        is_ours = asyncio.get_running_loop() is session.loop
        ask = (session.store if is_put else session.ask) if is_ours else session.fetch_aside
        try:
            return await ask("", sql, *arguments)
        except QueueFullError as error:
            problem = f"store {self.name!r} of driver {self.driver!r}: {error}"
            raise StoreFullError(problem, driver=self.driver) from error

    async def _change(self, sql: str, *arguments: Any, keys: Sequence[str]) -> int:
        answer: int = (await self._ask(sql, *arguments, is_put=True))[0][0]
        session = self._session
        if answer > 0 and session is not None:
            session.stores.changed(self.name, keys)
        return answer

    async def get(self, key: str) -> Entry | None:
        """See Store."""
        self.check(key)
        rows = await self._ask(GET, self.name, key)
        return Entry(key, *rows[0]) if rows else None

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        """See Store."""
        self.check(key, value)
        answer = await self._change(
            PUT, self.name, key, bytes(value), None if ttl == inf else ttl, version, keys=(key,)
        )
        if answer <= 0:
            raise self._conflict(key, -answer, version)
        return answer

    async def put_all(self, entries: Sequence[tuple[str, bytes]], *, ttl: float | None = None) -> None:
        """See Store. A statement for a part of them."""
        for key, value in entries:
            self.check(key, value)
        for start in range(0, len(entries), MOST_LOCKED):
            part = entries[start : start + MOST_LOCKED]
            keys, values = [key for key, _ in part], [bytes(value) for _, value in part]
            await self._change(PUT_ALL, self.name, keys, values, None if ttl == inf else ttl, keys=keys)

    async def delete(self, key: str, *, version: int | None = None) -> bool:
        """See Store."""
        self.check(key)
        answer = await self._change(DELETE, self.name, key, version, keys=(key,))
        if answer < 0:
            raise self._conflict(key, -1 - answer, version)
        return bool(answer)

    def _conflict(self, key: str, found: int, expected: int | None) -> ConflictError:
        problem = f"key {key[:40]!r} has version {found}, not {expected}"
        return ConflictError(f"store {self.name!r} of driver {self.driver!r}: {problem}", driver=self.driver)

    async def list(self, prefix: str = "", *, after: str = "", limit: int = 100) -> Page:
        """See Store. Pages end early where values are large."""
        keys, limit = key_range(prefix, after), min(max(limit, 1), MAX_PAGE)
        self._open_session()
        if keys is None:
            return Page((), "")
        rows = await self._ask(LIST, self.name, keys.low, keys.high or NO_END, limit + 1, MAX_PAGE_BYTES)
        has_more = len(rows) > limit or (bool(rows) and rows[-1]["key"] is None)
        entries = [Entry(*row) for row in (rows[:-1] if has_more else rows)]
        return Page(entries, entries[-1].key if has_more else "")

    async def watch(self, prefix: str = "") -> AsyncIterator[Change | Literal[Current.CURRENT]]:
        """See Store."""
        session = self._open_session()
        watcher = Watcher(prefix)
        self._watchers.append(watcher)
        try:
            await self._begin(session, watcher)
            async with aclosing(watcher.read(_wait_for_polls, _FOR_EVER)) as changes:
                async for change in changes:
                    yield change
        finally:
            session.stores.forget(self.name, watcher)
            with suppress(ValueError):
                self._watchers.remove(watcher)

    async def _begin(self, session: Session, watcher: Watcher) -> None:
        """Let the session tell the watcher, whatever loop that belongs to."""
        if asyncio.get_running_loop() is session.loop:
            await session.stores.watch(self.name, watcher)
        else:
            begun = asyncio.run_coroutine_threadsafe(session.stores.watch(self.name, watcher), session.loop)
            await asyncio.wrap_future(begun)

    async def take(self, key: str, tokens: int, *, rate: float, burst: int) -> Grant:
        """See Store."""
        self.check(key)
        return Grant(*(await self._ask(TAKE, self.name, key, tokens, 0, rate, burst))[0])

    async def give(self, key: str, tokens: int, *, rate: float, burst: int) -> None:
        """See Store."""
        self.check(key)
        await self._ask(TAKE, self.name, key, 0, tokens, rate, burst)

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        """See Store."""
        self.check(key)
        until: float | None = (await self._ask(HOLD, self.name, key, holder, places, lease))[0][0]
        return until

    async def release(self, key: str, holder: str) -> None:
        """See Store."""
        self.check(key)
        await self._ask(RELEASE, self.name, key, holder)

    async def time(self) -> float:
        """The clock of the server."""
        now: float = (await self._ask(TIME))[0][0]
        return now


_FOR_EVER = 3600.0


async def _wait_for_polls() -> None:
    """The session's polls tell the watcher."""
