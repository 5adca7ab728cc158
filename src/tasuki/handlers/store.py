"""The object behind a store's entry, for Lua and Python handlers; on every backend the same.

================================  ======================================  ============================================
verb (all are async)              returns                                 errors (``HandlerError`` by kind)
================================  ======================================  ============================================
``get(key)``                      the value                               NotFound
``set(key, value, ttl=)``         True                                    Invalid value
``has(key)``                      whether it is there
``delete(key)``                   whether it was there
``entry(key)``                    key, value, version (a decimal text)    NotFound
``list(prefix=, after=, limit=)`` items by key, cursor, has_more          Invalid option
``put(key, value, ttl=, …)``      the new entry                           AlreadyExists, Conflict ↻, NotFound, Invalid
``info()``                        what the store can do
``take`` ``give`` ``hold``        as in the store contract                Invalid option
``release``
================================  ======================================  ============================================

An empty key and one that is too long are Invalid everywhere; a full store and an unavailable broker are Unavailable ↻.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from tasuki.contracts.state.store import MAX_KEY_BYTES, MAX_PAGE, Entry, Grant, Store, StoreFacts
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
from tasuki.handlers.store_values import pack, unpack

_DEFAULT_PAGE = 100

_LONGEST = 100 * 365 * 86400.0
"""Seconds: a longer ttl is none."""


def invalid(message: str) -> HandlerError:
    """The error for a wrong argument."""
    return HandlerError(message, kind="Invalid", retryable=False)


def checked_key(key: object) -> str:
    """The key; the store checks its length."""
    if not isinstance(key, str) or not key:
        raise invalid("key is required")
    return key


def lifetime(ttl: float | None) -> float | None:
    """The ttl for the store: None, zero or less never ends."""
    return ttl if ttl is not None and 0 < ttl <= _LONGEST else None


def checked_lifetime(ttl: object) -> float | None:
    """The same, for a ttl that must not be negative."""
    if ttl is None:
        return None
    if not (_is_number(ttl) and isinstance(ttl, int | float) and ttl >= 0):
        raise invalid("ttl must be a non-negative number")
    return lifetime(ttl)


def checked_limit(limit: object) -> int:
    """How many entries a page may have: 0 is the default, and more than the most is the most."""
    if isinstance(limit, int | float) and _is_number(limit) and limit >= 0 and limit == limit // 1:
        return min(int(limit) or _DEFAULT_PAGE, MAX_PAGE)
    raise invalid("limit must be a non-negative integer")


def expected_version(only_if_absent: object, if_version: object) -> int | None:
    """The version that the key must have; 0: none; None: any."""
    if not isinstance(only_if_absent, bool):
        raise invalid("only_if_absent must be a boolean")
    version = _version(if_version)
    if only_if_absent and version:
        raise invalid("only_if_absent and if_version are mutually exclusive")
    return 0 if only_if_absent else version


def can_begin(prefix: object) -> bool:
    """Whether a key can begin with this. Raises HandlerError: it is no text."""
    if not isinstance(prefix, str):
        raise invalid("prefix must be a string")
    return _is_text(prefix) and len(prefix.encode()) <= MAX_KEY_BYTES


def checked_cursor(after: object) -> str:
    """What a page comes after."""
    if not isinstance(after, str):
        raise invalid("after must be a string")
    if not _is_text(after):
        raise invalid("after must be the cursor of a page, or a key")
    return after


def checked_tokens(tokens: object, rate: object, burst: object) -> None:
    """Refuse numbers that no bucket has."""
    if type(tokens) is not int or tokens < 0:
        raise invalid("tokens must be a non-negative integer")
    if type(burst) is not int or burst < 1:
        raise invalid("burst must be a positive integer")
    if not (_is_number(rate) and isinstance(rate, int | float) and 0 < rate < math.inf):
        raise invalid("rate must be a positive number of tokens a second")


def checked_place(holder: object, places: object, lease: object) -> None:
    """Refuse a place that cannot be held."""
    if not isinstance(holder, str) or not holder or not _is_text(holder):
        raise invalid("holder must be a text")
    if type(places) is not int or places < 1:
        raise invalid("places must be a positive integer")
    if not (_is_number(lease) and isinstance(lease, int | float) and 0 < lease <= _LONGEST):
        raise invalid("lease must be a positive number of seconds")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _is_text(value: str) -> bool:
    if "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _version(version: object) -> int | None:
    if version is None:
        return None
    text = version if isinstance(version, str) else str(version) if type(version) is int else ""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:40]) < 2**63):
        raise invalid("if_version must be a positive version")
    return int(text)


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
        data = pack(checked_key(key), value)
        await self._do(lambda store: store.put(key, data, ttl=lifetime(ttl)))
        return True

    async def has(self, key: str) -> bool:
        """Whether a key has a value."""
        return await self._find(key) is not None

    async def delete(self, key: str) -> bool:
        """Remove a key; False when it had no value."""
        checked_key(key)
        return await self._do(lambda store: store.delete(key))

    async def entry(self, key: str) -> StoreEntry:
        """Key, value and version."""
        return _entry(await self._existing(key))

    async def list(self, prefix: str = "", after: str = "", limit: int = 100) -> StorePage:
        """Entries whose key starts with ``prefix`` and comes after ``after``: at most 1000; a limit of 0 is 100."""
        count, has_any = checked_limit(limit), can_begin(prefix)
        start = checked_cursor(after)
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
        seconds = checked_lifetime(ttl)
        version = expected_version(only_if_absent, if_version)
        data = pack(checked_key(key), value)
        try:
            written = await self._do(lambda store: store.put(key, data, ttl=seconds, version=version))
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
        checked_key(key)
        checked_tokens(tokens, rate, burst)
        return await self._do(lambda store: store.take(key, tokens, rate=rate, burst=burst))

    async def give(self, key: str, tokens: int, *, rate: float, burst: int) -> None:
        """Return tokens to a bucket."""
        checked_key(key)
        checked_tokens(tokens, rate, burst)
        await self._do(lambda store: store.give(key, tokens, rate=rate, burst=burst))

    async def hold(self, key: str, holder: str, *, places: int = 1, lease: float) -> float | None:
        """Take or renew a place; the end of its lease in Unix seconds, or None: all are taken."""
        checked_key(key)
        checked_place(holder, places, lease)
        return await self._do(lambda store: store.hold(key, holder, places=places, lease=lease))

    async def release(self, key: str, holder: str) -> None:
        """Free the holder's place."""
        checked_key(key)
        checked_place(holder, 1, 1)
        await self._do(lambda store: store.release(key, holder))

    async def _find(self, key: str) -> Entry | None:
        checked_key(key)
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
