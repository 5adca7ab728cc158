"""Watcher: what the reader of a watch has not read yet, at most one change for each key."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Literal

from tasuki.contracts.state.store import CURRENT, Change, Current, Entry
from tasuki.errors import DriverError


class Watcher:
    """Of one reader, in the loop that makes it. A store tells it of changes, from any thread, or of all entries.

    It remembers the version of each key and a hash of its value, and so learns from a list of all entries which keys
    are new, changed and gone. The list is the truth: a broker that has lost its last writes has older versions, or
    gives the same version to another value.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._known: dict[str, tuple[int, int]] = {}
        self._unread: dict[str, Change] = {}
        self._unseen: set[str] = set()
        """Unread keys of which the reader has heard nothing: if they go before that, there is nothing to report."""
        self._lock = threading.Lock()
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._has_all = False
        self._is_over = False

    def tell(self, change: Change) -> None:
        """A key has changed; an older change than the known one is passed over, and so are keys of other prefixes."""
        if not change.key.startswith(self.prefix):
            return
        with self._lock:
            self._tell(change)
        self._wake()

    def _tell(self, change: Change) -> None:
        known = self._known.get(change.key)
        if change.value is None:
            if known is None or change.version < known[0]:
                return
            del self._known[change.key]
            if change.key in self._unseen:
                self._unseen.remove(change.key)
                del self._unread[change.key]
                return
        elif known is not None and change.version <= known[0]:
            return
        else:
            if known is None and change.key not in self._unread:
                self._unseen.add(change.key)
            self._known[change.key] = change.version, hash(change.value)
        self._unread.pop(change.key, None)  # so that changes stay in the order in which they happened
        self._unread[change.key] = change

    def tell_all(self, entries: Iterable[Entry]) -> None:
        """These are all keys of the prefix now, also before the first time, and after a time without news.

        A store that receives changes while it reads the list reports them after it: the list may be older.
        """
        with self._lock:
            gone = dict(self._known)
            for key, value, version in entries:
                known = gone.pop(key, None)
                if known is not None and known != (version, hash(value)):
                    self._known[key] = 0, 0  # so that the listed value counts, whatever its version
                self._tell(Change(key, value, version))
            for key, (version, _) in gone.items():
                self._tell(Change(key, None, version))
            self._has_all = True
        self._wake()

    def end(self) -> None:
        """The store is closed: the reader gets no more."""
        self._is_over = True
        self._wake()

    def _wake(self) -> None:
        if self._news.is_set():
            return
        with suppress(RuntimeError):  # the loop of the reader is closed
            self._loop.call_soon_threadsafe(self._news.set)

    async def read(
        self, look: Callable[[], Awaitable[None]], interval: float
    ) -> AsyncGenerator[Change | Literal[Current.CURRENT], None]:
        """The changes; ``look`` runs each ``interval`` seconds, and may fail: then it runs again."""
        is_current = False
        look_at = self._loop.time() + interval
        while not self._is_over:
            self._news.clear()
            with self._lock:
                unread, self._unread = self._unread, {}
                self._unseen.clear()
                has_all = self._has_all
            for change in unread.values():
                yield change
            if has_all and not is_current:
                is_current = True
                yield CURRENT
            if self._is_over:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout_at(look_at):
                    await self._news.wait()
            if self._loop.time() >= look_at:
                with suppress(DriverError):
                    await look()
                look_at = self._loop.time() + interval
