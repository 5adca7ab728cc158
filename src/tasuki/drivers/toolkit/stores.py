"""Rules that all stores share: their layout (ADR 65), keys of a prefix as a range, and watches of keys.

A store is a schema, a file, the keys of a queue, or the streams of a prefix. Each driver has the number of its layout
beside its schema, as ``LAYOUT``; the first is 1. A change of a layout raises that number; the step that brings a store
there from the layout before goes where the driver calls ``require``.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from math import inf
from typing import Generic, Literal, NamedTuple, TypeVar

from tasuki.contracts.state.store import CURRENT, Change, Current, Entry
from tasuki.errors import BrokerUnavailableError, DriverError
from tasuki.system import signals


def require(found: int | None, needed: int, *, place: str, instead: str, driver: str) -> None:
    """Refuse a store of another layout, or of none (None).

    ``instead``: the setting that has the driver make its store elsewhere.

    Raises:
        DriverError: it names the found and the needed layout, and the remedy.
    """
    if found != needed:
        has = "no layout" if found is None else f"layout {found}"
        remedy = f"drain it with the version that made it, or set another {instead}"
        raise DriverError(
            f"{place} has {has}, and this version of Tasuki needs layout {needed}: {remedy}", driver=driver
        )


_LAST = "\U0010ffff"


class KeyRange(NamedTuple):
    """Keys from ``low`` on, and before ``high``; an empty ``high``: no end."""

    low: str
    high: str


def key_range(prefix: str, after: str = "") -> KeyRange | None:
    """The keys that begin with ``prefix`` and come after ``after``; None: no key does.

    No wildcard of any pattern language has a meaning in it.
    """
    if "\0" in prefix or not (_is_text(prefix) and _is_text(after)):
        return None
    # A key has no NUL, so this is the first text that a key after ``after`` can be.
    low = max(prefix, after.replace("\0", "\x01") + "\x01") if after else prefix
    return KeyRange(low, _end(prefix))


def _end(prefix: str) -> str:
    """The first text after all that begin with the prefix."""
    stem = prefix.rstrip(_LAST)
    if not stem:
        return ""
    last = ord(stem[-1])
    return stem[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)  # between them are the surrogates, which are no text


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_STALE = 64
"""Times of other deadlines that may be left, beside one for each key."""


class Deadlines:
    """At most one deadline for each key. The clock here only decides when to ask the store, whose clock decides."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._ends)

    def set(self, key: str, at: float | None) -> None:
        """The key expires at this time; None: it does not, or it is gone."""
        if at is None:
            self._ends.pop(key, None)
            return
        self._ends[key] = at
        heapq.heappush(self._heap, (at, key))
        if len(self._heap) > 2 * len(self._ends) + _STALE:
            self._heap = [(at, key) for key, at in self._ends.items()]
            heapq.heapify(self._heap)

    def at(self, key: str) -> float | None:
        """When the key expires; None: not known, or never."""
        return self._ends.get(key)

    @property
    def next(self) -> float:
        """The next deadline; infinity if there is none."""
        heap = self._heap
        while heap and self._ends.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else inf

    def due(self, now: float) -> list[str]:
        """Take out the keys whose deadline has come."""
        keys = []
        while self.next <= now:
            _, key = heapq.heappop(self._heap)
            del self._ends[key]
            keys.append(key)
        return keys


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


F = TypeVar("F")

_inherited: list[object] = []
"""A parent process's, in a forked child: never freed, as that would close what both processes share."""


class Opened(Generic[F]):
    """Of one store. A forked child finds it closed until it opens the store itself."""

    def __init__(self, store: str, driver: str) -> None:
        self._store = store
        self._driver = driver
        self._forks = -1
        self._feeds: dict[asyncio.AbstractEventLoop, F] = {}

    def open(self) -> None:
        """The verbs may be called, in this process."""
        self._let_go_of_parent()
        self._forks = signals.fork_count

    def close(self) -> Sequence[tuple[asyncio.AbstractEventLoop, F]]:
        """The verbs are refused. Returns the feeds that the caller has to end, each in its loop."""
        self._let_go_of_parent()
        self._forks = -1
        feeds, self._feeds = self._feeds, {}
        return [(loop, feed) for loop, feed in feeds.items() if not loop.is_closed()]

    def check(self) -> None:
        """Raises BrokerUnavailableError if the store is not open here."""
        if self._forks != signals.fork_count:
            problem = f"store {self._store!r} of driver {self._driver!r} is not open; open it first"
            raise BrokerUnavailableError(problem, driver=self._driver)

    def here(self, make: Callable[[], F]) -> F:
        """The feed of the running loop. Raises BrokerUnavailableError."""
        self.check()
        loop = asyncio.get_running_loop()
        if loop not in self._feeds:
            for other in [other for other in self._feeds if other.is_closed()]:
                del self._feeds[other]
            self._feeds[loop] = make()
        return self._feeds[loop]

    def _let_go_of_parent(self) -> None:
        if self._forks not in {-1, signals.fork_count} and self._feeds:
            _inherited.append(self._feeds)
            self._feeds = {}
