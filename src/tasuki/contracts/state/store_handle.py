"""StoreHandle: a store for Python handlers and applications, by the id of its entry.

Values are plain data: bool, int (64 bits), float, str, bytes, and lists and dicts of these and of None. They come back
as they went in. All verbs raise HandlerError:

============================  ========================================================================
kind                          when
============================  ========================================================================
``NotFound``                  the key is absent, or there is no such store
``AlreadyExists``             ``put(only_if_absent=True)`` found the key
``Conflict`` ↻                ``put(if_version=…)`` found another version
``Invalid``                   a value that cannot be stored, a key or a value that is too large, a wrong option
``Unavailable`` ↻             the store is full, or its broker is unavailable
``Timeout`` ↻                 the broker did not answer; a write may have happened
============================  ========================================================================

Where the actor may not use the store or the key, they raise PolicyDeniedError.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from inspect import isawaitable
from typing import Any, Protocol, TypedDict
from uuid import uuid4

from tasuki.contracts.state.store import Grant
from tasuki.errors import HandlerError
from tasuki.system.threads import Blocking, blocking
from tasuki.units import Duration, parse_duration

_FIRST_PAUSE = 0.05

_LONGEST_PAUSE = 1.0
"""Seconds between two requests for a place that is taken; each pause is twice the one before."""

_RENEWALS = 3
"""Times that a lease is renewed while it would last."""


class Places(Protocol):
    """A store with places."""

    async def hold(self, key: str, holder: str, *, places: int = 1, lease: float) -> float | None:
        """Take or renew a place; None: all are taken."""

    async def release(self, key: str, holder: str) -> None:
        """Free the holder's place."""


@asynccontextmanager
async def holding(store: Places, key: str, *, places: int, lease: float, wait: float) -> AsyncIterator[None]:
    """See :meth:`tasuki.contracts.state.store_handle.StoreHandle.holding`; all times in seconds."""
    holder, deadline = uuid4().hex, asyncio.timeout(None)
    try:
        ends = await _take(store, key, holder, places, lease, wait)
        async with deadline:
            deadline.reschedule(ends)
            renewing = asyncio.create_task(_renew(store, key, holder, places, lease, deadline))
            try:
                yield
            finally:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)
    except TimeoutError:
        if not deadline.expired():
            raise
        problem = f"the place at key {key[:40]!r} is lost: its lease ended before it could be renewed"
        raise HandlerError(problem, kind="Conflict", retryable=True) from None
    finally:
        with suppress(HandlerError):  # then it ends with its lease
            await store.release(key, holder)


async def _take(store: Places, key: str, holder: str, places: int, lease: float, wait: float) -> float:
    """When the lease ends, by the clock of the loop. It began after it was requested, so this is never too late."""
    loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE
    gives_up = loop.time() + wait
    while True:
        asked = loop.time()
        if await store.hold(key, holder, places=places, lease=lease) is not None:
            return asked + lease
        left = gives_up - loop.time()
        if left <= 0:
            problem = f"all places at key {key[:40]!r} are taken ({places})"
            raise HandlerError(problem, kind="Conflict", retryable=True)
        await asyncio.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _renew(store: Places, key: str, holder: str, places: int, lease: float, deadline: asyncio.Timeout) -> None:
    """Renew the lease, and with it the deadline of the block, until a renewal is refused."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(lease / _RENEWALS)
        asked = loop.time()
        with suppress(HandlerError):  # the next renewal may succeed in time
            if await store.hold(key, holder, places=places, lease=lease) is None:
                deadline.reschedule(loop.time())
                return
            deadline.reschedule(asked + lease)


REQUIRED = ("get", "set", "has", "delete", "entry", "list", "put", "info")
"""The methods that make a resource a store."""

VERBS = frozenset({*REQUIRED, "take", "give", "hold", "release"})


Use = Callable[..., Any]
"""Calls a verb of one store by its name, with its arguments."""


_NO_DEFAULT = object()


class StoreEntry(TypedDict):
    """A value under its key; the version is a decimal number as text."""

    key: str
    value: Any
    version: str


class StorePage(TypedDict):
    """Entries in the order of their keys; the next page comes ``after`` the cursor."""

    items: list[StoreEntry]
    cursor: str
    has_more: bool


class StoreInfo(TypedDict):
    """What a store can do. ``consistency``: ``local`` (one process) or ``linearizable``."""

    id: str
    backend: str
    consistency: str
    durable: bool
    list: bool
    versioned: bool
    conditional_put: bool
    ttl: bool


def is_store(resource: object) -> bool:
    """Whether the object behind a resource entry has the methods of a store."""
    return all(callable(getattr(resource, verb, None)) for verb in REQUIRED)


def checked_store(resource: Any, id: str) -> Any:
    """The resource. Raises HandlerError (Invalid): it is no store."""
    if not is_store(resource):
        raise HandlerError(f"resource is not a store: {id}", kind="Invalid", retryable=False)
    return resource


def user_of(store: Any) -> Use:
    """How a handle calls the verbs of a store, which may be plain or async."""

    async def use(verb: str, *args: Any, **options: Any) -> Any:
        value = getattr(store, verb)(*args, **options)
        return await value if isawaitable(value) else value

    return use


class StoreHandle:
    """A store for code on the event loop; :class:`SyncStoreHandle` is for plain functions."""

    def __init__(self, id: str, use: Use) -> None:
        self.id = id
        self._use = use

    async def get(self, key: str, default: Any = _NO_DEFAULT) -> Any:
        """The value of a key; ``default`` where it is absent. Raises HandlerError: NotFound, without a default."""
        try:
            return await self._use("get", key)
        except HandlerError as error:
            return _default(error, default)

    async def entry(self, key: str) -> StoreEntry:
        """Key, value and version. Raises HandlerError: NotFound."""
        found: StoreEntry = await self._use("entry", key)
        return found

    async def has(self, key: str) -> bool:
        """Whether the key is there."""
        return bool(await self._use("has", key))

    async def set(self, key: str, value: Any, *, ttl: Duration | None = None) -> None:
        """Write a value; it is gone after ``ttl``. Without a ttl it stays, and an earlier ttl ends."""
        await self._use("set", key, value, ttl=_seconds(ttl))

    async def put(
        self,
        key: str,
        value: Any,
        *,
        ttl: Duration | None = None,
        only_if_absent: bool = False,
        if_version: str | int | None = None,
    ) -> StoreEntry:
        """Write a value under a condition, and return the new entry.

        Args:
            key: the key.
            value: plain data, but not None.
            ttl: as for ``set``.
            only_if_absent: write only if the key is absent. Raises HandlerError: AlreadyExists.
            if_version: write only if the key still has this version. Raises HandlerError: Conflict; NotFound: the key
                is gone.
        """
        options = {"ttl": _seconds(ttl), "only_if_absent": only_if_absent, "if_version": if_version}
        written: StoreEntry = await self._use("put", key, value, **options)
        return written

    async def delete(self, key: str) -> bool:
        """Remove a key; whether it was there."""
        return bool(await self._use("delete", key))

    async def list(self, prefix: str = "", *, after: str = "", limit: int = 100) -> StorePage:
        """A page of the entries whose key begins with ``prefix`` and comes after ``after``: at most 1000."""
        page: StorePage = await self._use("list", prefix, after=after, limit=limit)
        return page

    async def info(self) -> StoreInfo:
        """What the store can do."""
        found: StoreInfo = await self._use("info")
        return found

    async def take(self, key: str, tokens: int = 1, *, rate: float, burst: int) -> Grant:
        """Take up to ``tokens`` tokens of a bucket that holds ``burst`` and gains ``rate`` a second.

        Returns how many were granted; if none, ``wait``: the seconds until there is one. Buckets and places are beside
        the entries: a key may be both.
        """
        return Grant(*await self._use("take", key, tokens, rate=rate, burst=burst))

    async def give(self, key: str, tokens: int, *, rate: float, burst: int) -> None:
        """Return tokens that were not used."""
        await self._use("give", key, tokens, rate=rate, burst=burst)

    async def hold(self, key: str, holder: str, *, places: int = 1, lease: Duration) -> float | None:
        """Take one of the places for the time of a lease, or renew it.

        Returns the end of the lease in Unix seconds, by the clock of the store; None: all places are taken.
        """
        until: float | None = await self._use("hold", key, holder, places=places, lease=parse_duration(lease))
        return until

    async def release(self, key: str, holder: str) -> None:
        """Free the holder's place."""
        await self._use("release", key, holder)

    def holding(
        self, key: str, *, places: int = 1, lease: Duration = 30, wait: Duration = 0
    ) -> AbstractAsyncContextManager[None]:
        """Have one of the places within an ``async with`` block; the lease is renewed while the block runs.

        Args:
            key: the key.
            places: how many may be in such a block at a time, over all processes.
            lease: the time after which the place of a killed process is free.
            wait: how long to wait for a place.

        Raises:
            HandlerError: kind Conflict: all places are taken; or the lease could not be renewed in time, and another
                may be in its block: then the block is cancelled where it waits.
        """
        return holding(self, key, places=places, lease=parse_duration(lease), wait=parse_duration(wait))


class SyncStoreHandle(Blocking[StoreHandle]):
    """A store for plain functions: the verbs of :class:`StoreHandle`, which block their thread until they are done."""

    @property
    def id(self) -> str:
        """Id of its entry."""
        return self._awaited.id

    get = blocking(StoreHandle.get)
    entry = blocking(StoreHandle.entry)
    has = blocking(StoreHandle.has)
    set = blocking(StoreHandle.set)
    put = blocking(StoreHandle.put)
    delete = blocking(StoreHandle.delete)
    list = blocking(StoreHandle.list)
    info = blocking(StoreHandle.info)
    take = blocking(StoreHandle.take)
    give = blocking(StoreHandle.give)
    hold = blocking(StoreHandle.hold)
    release = blocking(StoreHandle.release)


class StoreReach(Protocol):
    """Finds the stores of a context; ids as the handler writes them. Raises HandlerError: NotFound, or no store."""

    def store(self, id: str) -> Use:
        """Calls verbs whose results are awaited, on the event loop."""

    def wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of one of these, in a thread without an event loop."""


class SyncStores:
    """What a context offers to plain functions."""

    def __init__(self, reach: StoreReach) -> None:
        self._reach = reach

    def store(self, id: str) -> SyncStoreHandle:
        """As :meth:`Storing.store`, for plain functions. Raises HandlerError (Invalid) on an event loop."""
        if has_loop():
            raise misplaced(f"context.sync would block the event loop: write 'await context.store({id!r}).get(…)'")
        return SyncStoreHandle(StoreHandle(id, self._reach.store(id)), self._reach.wait_for)


class Storing:
    """The part of a context that reaches stores."""

    __slots__ = ()
    _reach: StoreReach

    def store(self, id: str) -> StoreHandle:
        """The store of an entry by id (a bare name is of the function's namespace), for async functions.

        Raises:
            HandlerError: kind NotFound: there is no such entry; Invalid: it is no store, or no event loop runs here.
            PolicyDeniedError: the actor may not use it.
        """
        if not has_loop():
            raise misplaced(f"context.store is for async functions: write 'context.sync.store({id!r})' here")
        return StoreHandle(id, self._reach.store(id))

    @property
    def sync(self) -> SyncStores:
        """The same for plain functions, which run in a thread: ``context.sync.store("carts").get(key)``."""
        return SyncStores(self._reach)


def has_loop() -> bool:
    """Whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def misplaced(problem: str) -> HandlerError:
    """A method that is for the other kind of functions."""
    return HandlerError(problem, kind="Invalid", retryable=False)


def _default(error: HandlerError, default: Any) -> Any:
    if error.kind != "NotFound" or default is _NO_DEFAULT:
        raise error
    return default


def _seconds(ttl: Duration | None) -> float | None:
    """Raises ValueError: no duration, or none at all, which a store of Lua would take as forever."""
    seconds = None if ttl is None else parse_duration(ttl)
    if seconds == 0:
        raise ValueError("ttl must be more than 0; leave it out for a value that stays")
    return seconds
