"""MemoryStore: the object behind a ``store.memory`` entry, for Lua and Python handlers.

================================  ======================================  ============================================
method                            returns                                 errors (``HandlerError`` by kind)
================================  ======================================  ============================================
``get(key)``                      the value                               NotFound
``set(key, value, ttl=)``         True                                    Unavailable ↻ full
``has(key)``                      whether it is there
``delete(key)``                   whether it was there
``entry(key)``                    key, value, version (a decimal text)    NotFound
``list(prefix=, after=, limit=)`` items by key, cursor, has_more          Invalid option
``put(key, value, ttl=, …)``      the new entry                           AlreadyExists, Conflict ↻, NotFound, Invalid
``info()``                        what the store can do
================================  ======================================  ============================================

An empty key is Invalid everywhere, a closed store Unavailable ↻. Values go in and come out as copies.
"""

from __future__ import annotations

import copy
import math
import sys
from typing import Any, NamedTuple

from tasuki.clock import Clock, SystemClock
from tasuki.errors import HandlerError

DEFAULT_SIZE = 10_000
DEFAULT_BYTES = 64 * 2**20
_PART = 64
"""About what a number, a list, a table or an item of one takes in memory."""
_SCALARS = (str, int, float, bool, bytes, type(None))


class _Item(NamedTuple):
    value: Any
    version: int
    expires_at: float
    size: int


class MemoryStore:
    """Keys and values in the memory of this process.

    One version counter serves the whole store, so a key that was deleted and written again has a new version.
    Not for use from several threads at once without the interpreter's lock; each method is one step of it.

    Args:
        id: the entry's id.
        max_size: most keys; 0: the default.
        max_bytes: most memory for keys and values, as counted by ``size_of``.
        cleanup_interval: seconds between two removals of expired keys; reads never see them anyway.
        clock: where the time comes from.
    """

    def __init__(
        self,
        id: str,
        *,
        max_size: int = DEFAULT_SIZE,
        max_bytes: int = DEFAULT_BYTES,
        cleanup_interval: float = 300.0,
        clock: Clock | None = None,
    ) -> None:
        self.id = id
        self._max_size = max_size or DEFAULT_SIZE
        self._max_bytes = max_bytes
        self._bytes = 0
        self._interval = cleanup_interval
        self._clock = clock or SystemClock()
        self._items: dict[str, _Item] = {}
        self._version = 0
        self._next_cleanup = self._clock.monotonic() + cleanup_interval
        self._is_closed = False

    def get(self, key: str) -> Any:
        """The value of a key."""
        return _copy(self._existing(key).value)

    def set(self, key: str, value: Any, ttl: float | None = None) -> bool:
        """Write a value; a ``ttl`` of None, zero or less never ends."""
        self._write(key, value, ttl)
        return True

    def has(self, key: str) -> bool:
        """Whether a key has a value."""
        return self._find(key) is not None

    def delete(self, key: str) -> bool:
        """Remove a key; False when it had no value."""
        found = self._find(key) is not None
        self._forget(key)
        return found

    def entry(self, key: str) -> dict[str, Any]:
        """Key, value and version."""
        return _entry(key, self._existing(key))

    def list(self, prefix: str = "", after: str = "", limit: int = 100) -> dict[str, Any]:
        """Entries whose key starts with ``prefix`` and comes after ``after``: at most 1000; a limit of 0 is 100."""
        self._check_open()
        count = min(_checked_limit(limit) or 100, 1000)
        if not isinstance(prefix, str):
            raise _invalid("prefix must be a string")
        if not isinstance(after, str):
            raise _invalid("after must be a string")
        self._purge()
        keys = sorted(key for key in self._items if key.startswith(prefix) and (not after or key > after))
        items = [_entry(key, self._items[key]) for key in keys[:count]]
        return {"items": items, "cursor": items[-1]["key"] if items else "", "has_more": len(keys) > count}

    def put(
        self,
        key: str,
        value: Any,
        ttl: float | None = None,
        only_if_absent: bool = False,
        if_version: str | int | None = None,
    ) -> dict[str, Any]:
        """Write a value if the key is absent, or still has a version."""
        if ttl is not None and not (_is_number(ttl) and ttl >= 0):
            raise _invalid("ttl must be a non-negative number")
        if not isinstance(only_if_absent, bool):
            raise _invalid("only_if_absent must be a boolean")
        version = _checked_version(if_version)
        if only_if_absent and version:
            raise _invalid("only_if_absent and if_version are mutually exclusive")
        found = self._find(key)
        if only_if_absent and found:
            raise HandlerError("key already exists", kind="AlreadyExists", retryable=False)
        if version and self._existing(key).version != version:
            raise HandlerError("version mismatch", kind="Conflict", retryable=True)
        return _entry(key, self._write(key, value, ttl))

    def info(self) -> dict[str, Any]:
        """What the store can do."""
        flags = dict.fromkeys(("list", "versioned", "conditional_put", "ttl"), True)
        return {"id": self.id, "backend": "memory", "consistency": "local", "durable": False, **flags}

    def close(self) -> None:
        """Forget everything; every later call fails. Idempotent."""
        self._is_closed = True
        self._items.clear()
        self._bytes = 0

    def _check_open(self) -> None:
        if self._is_closed:
            raise HandlerError("store is closed", kind="Unavailable", retryable=True)

    def _find(self, key: str) -> _Item | None:
        self._check_open()
        if not isinstance(key, str) or not key:
            raise _invalid("key is required")
        item = self._items.get(key)
        return item if item and item.expires_at > self._clock.monotonic() else None

    def _existing(self, key: str) -> _Item:
        item = self._find(key)
        if item is None:
            raise HandlerError("key not found", kind="NotFound", retryable=False)
        return item

    def _write(self, key: str, value: Any, ttl: float | None) -> _Item:
        is_new = self._find(key) is None
        if value is None:
            raise _invalid("value is required")
        now = self._clock.monotonic()
        size = size_of(key) + size_of(value)
        if now >= self._next_cleanup or (is_new and self._is_full(key, size)):
            self._purge()
        if self._is_full(key, size):
            raise HandlerError("store is full", kind="Unavailable", retryable=True)
        self._forget(key)
        self._version += 1
        expires_at = now + ttl if ttl is not None and ttl > 0 else math.inf
        item = self._items[key] = _Item(_copy(value), self._version, expires_at, size)
        self._bytes += size
        return item

    def _is_full(self, key: str, size: int) -> bool:
        """Whether the key has no room with so many bytes, in place of what it has now."""
        old = self._items.get(key)
        if old is None and len(self._items) >= self._max_size:
            return True
        return self._bytes - (old.size if old else 0) + size > self._max_bytes

    def _forget(self, key: str) -> None:
        item = self._items.pop(key, None)
        self._bytes -= item.size if item else 0

    def _purge(self) -> None:
        now = self._clock.monotonic()
        self._next_cleanup = now + self._interval
        for key in [key for key, item in self._items.items() if item.expires_at <= now]:
            self._forget(key)


def size_of(value: Any) -> int:
    """About how many bytes a value takes in memory; a character of a text takes one to four."""
    if isinstance(value, str | bytes):
        return sys.getsizeof(value)
    if isinstance(value, dict):
        return _PART + sum(size_of(key) + size_of(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return _PART + sum(map(size_of, value))
    return _PART


def _copy(value: Any) -> Any:
    return value if isinstance(value, _SCALARS) else copy.deepcopy(value)


def _entry(key: str, item: _Item) -> dict[str, Any]:
    return {"key": key, "value": _copy(item.value), "version": str(item.version)}


def _invalid(message: str) -> HandlerError:
    return HandlerError(message, kind="Invalid", retryable=False)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _checked_limit(limit: object) -> int:
    if isinstance(limit, int | float) and _is_number(limit) and limit >= 0 and limit == limit // 1:
        return int(limit)
    raise _invalid("limit must be a non-negative integer")


def _checked_version(version: object) -> int:
    """The version as a number; 0 for none."""
    if version is None:
        return 0
    text = version if isinstance(version, str) else str(version) if type(version) is int else ""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise _invalid("if_version must be a positive version")
    return int(text)
