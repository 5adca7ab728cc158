"""Feed: the connection that brings the changes of one store to the watches of one event loop.

A watch subscribes first and lists then, so no change falls between the two; what comes meanwhile is applied after the
list. The server forgets a subscription with its connection, so all watches list again after each connection. Nothing
reports expiries by itself: the feed knows when its keys expire, and then has them removed, which all watches hear of.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasuki.contracts.state.store import MAX_PAGE, Change, Entry
from tasuki.drivers.redis.errors import LinkLostError, ReplyError, closed_error
from tasuki.drivers.redis.session import Session
from tasuki.drivers.redis.state import places
from tasuki.drivers.redis.state.places import News, StorePlace, read_news, seconds_left
from tasuki.drivers.toolkit.reconnecting import Attempts
from tasuki.drivers.toolkit.stores import Deadlines, Watcher
from tasuki.errors import DriverError
from tasuki.system.tasks import OnFailure

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.link import Link

SPREAD = 0.3
"""Seconds over which the processes that watch a key spread, after its end: the first one removes it for all."""
EXPIRED = 200
"""Most expired keys that one script removes."""
Listed = tuple[Entry, float | None]
"""An entry, and the seconds until it expires."""
Lists = Callable[[str, str, int], Awaitable[tuple[str, Sequence[Listed]]]]


def listed(answer: Sequence[Any]) -> tuple[str, Sequence[Listed]]:
    """The cursor and the entries in the answer of a page."""
    cursor, *rest = answer
    names, values, versions, left = (rest[start::4] for start in range(4))
    entries = [
        Entry(name.decode(), value, version) for name, value, version in zip(names, values, versions, strict=True)
    ]
    return cursor.decode(), list(zip(entries, map(seconds_left, left), strict=True))


@dataclass(slots=True, eq=False)
class _Watch:
    watcher: Watcher
    channel: bytes
    missed: dict[str, News] | None = field(default_factory=dict)
    """What came since the subscription, until the list is there; None: it is."""


class Feed:
    """Works while there is a watch. ``run`` runs a script of the store, ``page`` reads a part of its entries."""

    def __init__(self, session: Session, place: StorePlace, run: Callable[..., Awaitable[Any]], page: Lists) -> None:
        self._session = session
        self._place = place
        self._run = run
        self._page = page
        self._watches: list[_Watch] = []
        self._link: Link | None = None
        self._beats = session.beats()
        self._subscribed: dict[bytes, asyncio.Future[None]] = {}
        self._deadlines = Deadlines()
        self._unread: dict[str, int] = {}
        """Keys whose values were too long to come with the news; the version of a removal while they are read."""
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    def join(self, prefix: str) -> Watcher:
        """A watch more."""
        watch = _Watch(Watcher(prefix), self._place.channel(prefix))
        self._watches.append(watch)
        self._news.set()
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._follow(), name="watch a store at Redis")
        return watch.watcher

    def leave(self, watcher: Watcher) -> None:
        """A watch less; the last one ends the connection."""
        self._watches = [watch for watch in self._watches if watch.watcher is not watcher]
        wanted = {watch.channel for watch in self._watches}
        for channel in [channel for channel in self._subscribed if channel not in wanted]:
            del self._subscribed[channel]
            if self._link is not None:
                self._link.send("UNSUBSCRIBE", channel)
        self._news.set()

    def end(self) -> None:
        """End all watches."""
        for watch in self._watches:
            watch.watcher.end()
        self._watches = []
        if self._task is not None:
            self._task.cancel()

    async def _follow(self) -> None:
        attempts: Attempts[Link] = Attempts("watch a store at Redis", closed_error)
        try:
            while self._watches:
                with suppress(LinkLostError, ReplyError, DriverError):
                    await self._serve(await attempts.share(self._connect))
                if not self._session.is_open:
                    self.end()
                self._reset()
        finally:
            attempts.abort()
            self._reset()

    def _reset(self) -> None:
        """All watches have to list again."""
        link, self._link = self._link, None
        if link is not None:
            link.close()
        self._subscribed, self._deadlines, self._unread = {}, Deadlines(), {}
        for watch in self._watches:
            watch.missed = {}

    async def _connect(self) -> Link:
        """A connection over which all watches have been brought up to date."""
        link = await self._session.nodes("").listener(self._place.slot)
        with OnFailure(link.close):
            self._reset()
            self._link = link
            link.on_push, link.on_lost = self._hear, self._lost
            self._beats.keep(link)
            await self._list_all()
        return link

    async def _serve(self, link: Link) -> None:
        while self._watches and not link.is_lost:
            self._news.clear()
            await self._list_all()
            await self._read_all()
            await self._expire()
            if not link.is_lost:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(self._deadlines.next):
                        await self._news.wait()

    async def _list_all(self) -> None:
        while watch := next((watch for watch in self._watches if watch.missed is not None), None):
            await self._subscribe(watch.channel)
            entries: list[Entry] = []
            cursor, prefix = "", watch.watcher.prefix
            while True:
                cursor, found = await self._page(prefix, cursor, MAX_PAGE)
                for entry, left in found:
                    entries.append(entry)
                    self._expect(entry.key, left)
                if not cursor:
                    break
            watch.watcher.tell_all(entries)
            missed, watch.missed = watch.missed or {}, None
            for news in missed.values():
                self._tell(watch, news)

    async def _subscribe(self, channel: bytes) -> None:
        link = self._link
        if link is None or link.is_lost:
            raise LinkLostError("the connection was lost", is_sent=False)
        if channel not in self._subscribed:
            self._subscribed[channel] = self._loop.create_future()
            link.send("SUBSCRIBE", channel)
        try:
            async with asyncio.timeout(self._session.read_timeout):
                await asyncio.shield(self._subscribed[channel])
        except TimeoutError:
            raise LinkLostError("no answer to a subscription", is_sent=False) from None

    def _lost(self) -> None:
        for made in self._subscribed.values():
            if not made.done():
                made.set_exception(LinkLostError("the connection was lost", is_sent=False))
                made.exception()  # perhaps no watch waits for it any more
        self._news.set()

    def _hear(self, answer: Any) -> None:
        if isinstance(answer, ReplyError):
            if self._link is not None:
                self._link.close(LinkLostError(str(answer)))
            return
        if not isinstance(answer, list) or len(answer) < 3:
            return  # the answer to a PING
        kind, channel, content = answer[:3]
        if kind == b"subscribe" and (made := self._subscribed.get(channel)) is not None and not made.done():
            made.set_result(None)
        elif kind == b"message" and channel in self._subscribed:  # else it is a beat
            news = read_news(content)
            for watch in self._watches:
                if watch.channel == channel and news.key.startswith(watch.watcher.prefix):
                    if watch.missed is not None:
                        watch.missed.pop(news.key, None)  # so that they stay in their order
                        watch.missed[news.key] = news
                    self._tell(watch, news)

    def _tell(self, watch: _Watch, news: News) -> None:
        self._expect(news.key, news.left)
        if news.is_gone and news.key in self._unread:
            self._unread[news.key] = news.version
        if watch.missed is not None:
            return
        if news.change is not None:
            watch.watcher.tell(news.change)
        else:
            self._unread.setdefault(news.key, 0)
            self._news.set()

    def _expect(self, key: str, left: float | None) -> None:
        before = self._deadlines.next
        spread = random.uniform(0.01, SPREAD)  # noqa: S311
        self._deadlines.set(key, None if left is None else self._loop.time() + left + spread)
        if self._deadlines.next < before:
            self._news.set()

    async def _read_all(self) -> None:
        """Read values that were too long to come with their news; older ones than a removal meanwhile do not count."""
        while self._unread:
            key = next(iter(self._unread))
            self._unread[key] = 0
            found = await self._run(places.READ, key.encode())
            gone = self._unread.pop(key, 0)
            if found and found[0] > gone:
                for watch in self._watches:
                    if watch.missed is None:
                        watch.watcher.tell(Change(key, found[1], found[0]))

    async def _expire(self) -> None:
        """Have expired keys removed; the watches hear of it as of any removal, and a key that was renewed stays."""
        keys = self._deadlines.due(self._loop.time())
        if not keys:
            return
        prefixes = tuple(watch.watcher.prefix for watch in self._watches)
        for key in keys:
            if key.startswith(prefixes):
                self._deadlines.set(key, self._loop.time() + SPREAD)  # until the news of its removal is there
        await self._run(places.EXPIRE, EXPIRED)
