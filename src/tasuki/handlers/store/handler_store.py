"""HandlerStore: the verbs of handlers over a store of the contract."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from tasuki.contracts.state.store import Entry, Grant, Store, StoreFacts
from tasuki.contracts.state.store_handle import StoreEntry, StoreInfo, StorePage
from tasuki.errors import (
    BrokerTimeoutError,
    BrokerUnavailableError,
    ConflictError,
    DriverError,
    HandlerError,
    StoreFullError,
    StoreLimitError,
    ThrottledError,
)
from tasuki.handlers.store import options as checked
from tasuki.handlers.store.values import pack, unpack

T = TypeVar("T")

_KINDS: dict[type[DriverError], str] = {
    BrokerUnavailableError: "Unavailable",
    BrokerTimeoutError: "Timeout",
    ThrottledError: "RateLimited",
    StoreFullError: "Unavailable",
    StoreLimitError: "Invalid",
}
_VOLATILE = frozenset({"memory", "process"})
"""Durabilities that a restart of the store does not survive."""


class HandlerStore:
    """See the table of the package.

    Args:
        id: the entry's id.
        opened: gives the store, open; called by each verb. Raises DriverError.
        backend: the name that ``info`` says.
    """

    def __init__(self, id: str, opened: Callable[[], Awaitable[Store]], backend: str) -> None:
        self.id = id
        self._opened = opened
        self._backend = backend

    async def get(self, key: str) -> Any:
        """The value of a key."""
        return unpack(key, (await self._existing(key)).value)

    async def set(self, key: str, value: Any, ttl: float | None = None) -> bool:
        """Write a value; a ``ttl`` of None, zero or less never ends."""
        data = pack(checked.checked_key(key), value)
        await self._do(lambda store: store.put(key, data, ttl=checked.lifetime(ttl)))
        return True

    async def has(self, key: str) -> bool:
        """Whether a key has a value."""
        return await self._find(key) is not None

    async def delete(self, key: str) -> bool:
        """Remove a key; False when it had no value."""
        checked.checked_key(key)
        return await self._do(lambda store: store.delete(key))

    async def entry(self, key: str) -> StoreEntry:
        """Key, value and version."""
        return _entry(await self._existing(key))

    async def list(self, prefix: str = "", after: str = "", limit: int = 100) -> StorePage:
        """Entries whose key starts with ``prefix`` and comes after ``after``: at most 1000; a limit of 0 is 100."""
        count, has_any = checked.checked_limit(limit), checked.can_begin(prefix)
        start = checked.checked_cursor(after)
        if not has_any:
            return {"items": [], "cursor": "", "has_more": False}
        page = await self._do(lambda store: store.list(prefix, after=start, limit=count))
        items = [_entry(entry) for entry in page.entries]
        last = items[-1]["key"] if items else ""
        return {"items": items, "cursor": page.cursor or last, "has_more": bool(page.cursor)}

    async def put(
        self,
        key: str,
        value: Any,
        ttl: float | None = None,
        only_if_absent: bool = False,
        if_version: str | int | None = None,
    ) -> StoreEntry:
        """Write a value if the key is absent, or still has a version."""
        lifetime = checked.checked_lifetime(ttl)
        version = checked.expected_version(only_if_absent, if_version)
        data = pack(checked.checked_key(key), value)
        try:
            written = await self._do(lambda store: store.put(key, data, ttl=lifetime, version=version))
        except ConflictError as error:
            raise await self._conflict(key, version) from error
        return _entry(Entry(key, data, written))

    async def info(self) -> StoreInfo:
        """What the store can do."""
        facts = await self._do(_facts)
        return {
            "id": self.id,
            "backend": self._backend,
            "consistency": "linearizable" if facts.multi_process else "local",
            "durable": facts.durability not in _VOLATILE,
            "list": True,
            "versioned": True,
            "conditional_put": True,
            "ttl": True,
        }

    async def take(self, key: str, tokens: int = 1, *, rate: float, burst: int) -> Grant:
        """Take tokens of a bucket; see the store contract."""
        checked.checked_key(key)
        checked.checked_tokens(tokens, rate, burst)
        return await self._do(lambda store: store.take(key, tokens, rate=rate, burst=burst))

    async def give(self, key: str, tokens: int, *, rate: float, burst: int) -> None:
        """Return tokens to a bucket."""
        checked.checked_key(key)
        checked.checked_tokens(tokens, rate, burst)
        await self._do(lambda store: store.give(key, tokens, rate=rate, burst=burst))

    async def hold(self, key: str, holder: str, *, places: int = 1, lease: float) -> float | None:
        """Take or renew a place; the end of its lease in Unix seconds, or None: all are taken."""
        checked.checked_key(key)
        checked.checked_place(holder, places, lease)
        return await self._do(lambda store: store.hold(key, holder, places=places, lease=lease))

    async def release(self, key: str, holder: str) -> None:
        """Free the holder's place."""
        checked.checked_key(key)
        checked.checked_place(holder, 1, 1)
        await self._do(lambda store: store.release(key, holder))

    async def _find(self, key: str) -> Entry | None:
        checked.checked_key(key)
        return await self._do(lambda store: store.get(key))

    async def _existing(self, key: str) -> Entry:
        found = await self._find(key)
        if found is None:
            raise _not_found()
        return found

    async def _conflict(self, key: str, version: int | None) -> HandlerError:
        """Why a put had no effect: the store says only that the version is another one."""
        if version == 0:
            return HandlerError("key already exists", kind="AlreadyExists", retryable=False)
        if await self._find(key) is None:
            return _not_found()
        return HandlerError("version mismatch", kind="Conflict", retryable=True)

    async def _do(self, verb: Callable[[Store], Awaitable[T]]) -> T:
        """Call a verb of the open store. Raises ConflictError as it is, and other errors as HandlerError."""
        try:
            return await verb(await self._opened())
        except ConflictError:
            raise
        except DriverError as error:
            raise _as_handler_error(error) from error


async def _facts(store: Store) -> StoreFacts:
    return store.facts


def _entry(entry: Entry) -> StoreEntry:
    return {"key": entry.key, "value": unpack(entry.key, entry.value), "version": str(entry.version)}


def _not_found() -> HandlerError:
    return HandlerError("key not found", kind="NotFound", retryable=False)


def _as_handler_error(error: DriverError) -> HandlerError:
    kind = next((kind for type_, kind in _KINDS.items() if isinstance(error, type_)), "Internal")
    text = "store is full" if isinstance(error, StoreFullError) else str(error)
    details = {"outcome": error.outcome, "reason": type(error).__name__} if error.retryable else None
    return HandlerError(text, kind=kind, retryable=error.retryable, details=details)
