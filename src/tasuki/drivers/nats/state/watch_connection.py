"""WatchConnection: brings the changes of one store to the watches of one event loop, over its own connection.

Each watch has a consumer at the server, which delivers the entries and then each change, and says how many are to come.
A consumer that misses a number, says nothing, or was lost with its connection is made again, and delivers all entries
again. The server reports no expiries: the watch knows when its keys expire, asks then, and removes them.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from tasuki.contracts.state.store import Change, Entry
from tasuki.drivers.nats.failures import is_stream_missing
from tasuki.drivers.nats.protocol.address import Address
from tasuki.drivers.nats.protocol.api import SECOND, ask, seconds_of
from tasuki.drivers.nats.protocol.connection import Connection, reconnecting
from tasuki.drivers.nats.protocol.exchange import frame
from tasuki.drivers.nats.state.records import StoreSubjects, read_headers, version_of
from tasuki.drivers.nats.state.stream import StoreStream
from tasuki.drivers.toolkit.reconnecting import Reconnecting
from tasuki.drivers.toolkit.stores import Deadlines, Watcher
from tasuki.errors import DriverError

_PLAIN = 9
"""Parts of a reply subject; newer servers and domains put two before the stream (see ``receiving/arrivals``)."""
_SECOND = 1e9


class Push(NamedTuple):
    """An entry that a consumer delivers; ``data`` and ``headers`` are its message."""

    consumer: str
    subject: str
    number: int
    """How many this consumer has delivered with it."""
    sequence: int
    written_at: float
    pending: int
    """How many more the consumer has."""
    headers: bytes | None
    data: bytes


class Beat(NamedTuple):
    """The consumer of this inbox is there, and has delivered this many."""

    inbox: str
    number: int | None
    """None: the server does not say."""
    answer_to: str
    """Where the server waits for a word before it pushes more; empty: it does not."""


class PushConnection(Connection):
    """A connection that gets the deliveries of push consumers, and their signs of life."""

    def __init__(self, address: Address, on_push: Callable[[Push | Beat], None], on_loss: Callable[[], None]) -> None:
        super().__init__(address, on_loss=on_loss)
        self._on_push = on_push
        self._watched = b"%b.w.p" % self._inbox

    def subscribe_to_pushes(self) -> tuple[int, str]:
        """Be ready for the deliveries of a consumer; returns the number of this subscription, and where they come.

        A subscription of its own: NATS 2.10 delivers nothing to a subject that only a wildcard subscribes to.
        """
        number = next(self._subscriptions)
        inbox = b"%b.%d" % (self._watched, number)
        self.send(b"SUB %b %d\r\n" % (inbox, number))
        return number, inbox.decode()

    def _route(self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        try:
            if reply.startswith(b"$JS.ACK."):
                self._on_push(read_push(subject, reply, data, headers))
            elif subject.startswith(self._watched):
                self._on_push(read_beat(subject, reply, headers))
            else:
                super()._route(subject, reply, data, headers)
        except (ValueError, IndexError) as error:
            self.drop(f"a message that cannot be read: {error}")


def read_push(subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> Push:
    """A delivery. Raises ValueError, IndexError."""
    parts = reply.decode().split(".")
    start = 2 if len(parts) == _PLAIN else 4
    _, consumer, _, sequence, number, time, pending = parts[start : start + 7]
    return Push(
        consumer, subject.decode(), int(number), int(sequence), int(time) / _SECOND, int(pending), headers, data
    )


def read_beat(subject: bytes, reply: bytes, headers: bytes | None) -> Beat:
    """A status of a consumer: idle, or waiting for a word."""
    found = dict(line.partition(b": ")[::2] for line in (headers or b"").split(b"\r\n"))
    last = found.get(b"Nats-Last-Consumer")
    answer_to = reply or found.get(b"Nats-Consumer-Stalled", b"")
    return Beat(subject.decode(), int(last) if last else None, answer_to.decode())


BEAT = 5.0
"""Seconds between two signs of life of an idle consumer."""
SILENCE = 2.5 * BEAT
"""Seconds without one after which a consumer is made again."""
SPREAD = 0.3
"""Seconds over which the processes that watch a key spread, after its end."""
PAUSE = 0.5
"""Seconds after a consumer could not be made."""
_TOGETHER = 100
"""Expired keys that one request asks for."""


@dataclass(slots=True, eq=False)
class _Watch:
    watcher: Watcher
    consumer: str = ""
    """Its name; empty: it has to be made."""
    inbox: str = ""
    subscription: int = 0
    delivered: int = 0
    expected: int | None = None
    """How many entries come first; None: the server has not said."""
    entries: dict[str, Entry] | None = field(default_factory=dict)
    """What has come of them; None: all."""
    heard_at: float = 0.0


class WatchConnection:
    """Works while there is a watch."""

    def __init__(
        self, address: Address, stream: StoreStream, subjects: StoreSubjects, is_open: Callable[[], bool]
    ) -> None:
        self._stream = stream
        self._subjects = subjects
        self._is_open = is_open
        self._link: Reconnecting[PushConnection] = reconnecting(
            address, lambda: PushConnection(address, self._hear, self._lost)
        )
        self._watches: list[_Watch] = []
        self._deadlines = Deadlines()
        """By the server's clock."""
        self._versions: dict[str, int] = {}
        """Of the keys that have a deadline."""
        self._clock = 0.0
        """The server's time at the zero of the loop's clock."""
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    def join(self, prefix: str) -> Watcher:
        """A watch more."""
        watch = _Watch(Watcher(prefix))
        self._watches.append(watch)
        self._news.set()
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._follow(), name="watch a store at NATS")
        return watch.watcher

    def leave(self, watcher: Watcher) -> None:
        """A watch less; the last one ends the connection."""
        for watch in [watch for watch in self._watches if watch.watcher is watcher]:
            self._watches.remove(watch)
            self._withdraw(watch)
        self._news.set()

    async def close(self) -> None:
        """End all watches."""
        self._end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._link.close()

    def _end(self) -> None:
        for watch in self._watches:
            watch.watcher.end()
            self._withdraw(watch)
        self._watches = []

    async def _follow(self) -> None:
        try:
            while self._watches:
                self._link.open()
                await self._serve()
                await self._link.close()
        finally:
            self._link.abort()

    async def _serve(self) -> None:
        while self._watches:
            self._news.clear()
            try:
                await self._make_all()
                await self._expire()
            except DriverError:
                if not self._is_open():
                    self._end()
                await asyncio.sleep(PAUSE)
            else:
                until = min(self._loop.time() + BEAT, self._deadlines.next - self._clock)
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(until):
                        await self._news.wait()

    async def _make_all(self) -> None:
        now = self._loop.time()
        for watch in list(self._watches):
            if watch.consumer and now - watch.heard_at > SILENCE:
                self._again(watch)
        while lacking := [watch for watch in self._watches if not watch.consumer]:
            connection = await self._link.get()
            if lacking[0] in self._watches:
                await self._make(lacking[0], connection)

    async def _make(self, watch: _Watch, connection: PushConnection) -> None:
        """Have all entries delivered, and then all changes."""
        name = secrets.token_hex(8)
        watch.subscription, watch.inbox = connection.subscribe_to_pushes()
        watch.consumer, watch.heard_at = name, self._loop.time()
        stream, subjects = self._subjects.stream, self._subjects.entries(watch.watcher.prefix)
        config = {
            "name": name,
            "deliver_subject": watch.inbox,
            "deliver_policy": "all",
            "filter_subject": subjects,
            "ack_policy": "none",
            "max_deliver": 1,
            "idle_heartbeat": int(BEAT * SECOND),
            "flow_control": True,
            "inactive_threshold": int(4 * BEAT * SECOND),
            "mem_storage": True,
            "num_replicas": 1,
        }
        body = {"stream_name": stream, "config": config, "action": ""}
        try:
            made, info = await ask(
                connection, "", [(f"CONSUMER.CREATE.{stream}.{name}.{subjects}", body), (f"STREAM.INFO.{stream}", {})]
            )
            if is_stream_missing(made.get("error")):
                await self._stream.begin(connection)
            if "error" in made or "ts" not in info:
                raise DriverError(f"a watch: NATS refuses: {made.get('error')}", driver=connection.address.driver)
        except BaseException:
            self._again(watch)
            raise
        self._clock = seconds_of(info["ts"]) - self._loop.time()
        if watch.consumer == name:
            watch.expected = int(made["num_pending"]) + int(made["delivered"]["consumer_seq"])
            self._complete(watch)

    def _withdraw(self, watch: _Watch) -> None:
        """Have the server forget the consumer; one that is not heard of ends by itself."""
        connection = self._link.connection
        if watch.consumer and connection is not None:
            verb = f"{connection.address.api}.CONSUMER.DELETE.{self._subjects.stream}.{watch.consumer}"
            with suppress(DriverError):
                connection.unsubscribe(watch.subscription)
                connection.send(frame(verb, b""))

    def _again(self, watch: _Watch) -> None:
        """The consumer is to be made again."""
        self._withdraw(watch)
        watch.consumer, watch.inbox, watch.delivered, watch.expected, watch.entries = "", "", 0, None, {}
        self._news.set()

    def _lost(self) -> None:
        for watch in self._watches:
            self._again(watch)

    def _hear(self, news: Push | Beat) -> None:
        for watch in self._watches:
            if isinstance(news, Push) and watch.consumer == news.consumer:
                self._take(watch, news)
            elif isinstance(news, Beat) and watch.inbox == news.inbox:
                self._beat(watch, news)

    def _beat(self, watch: _Watch, beat: Beat) -> None:
        watch.heard_at = self._loop.time()
        connection = self._link.connection
        if beat.answer_to and connection is not None:
            with suppress(DriverError):
                connection.send(frame(beat.answer_to, b""))
        if beat.number is not None and beat.number != watch.delivered:
            self._again(watch)
        elif beat.number is not None:
            self._complete(watch, is_idle=True)

    def _take(self, watch: _Watch, push: Push) -> None:
        watch.heard_at = self._loop.time()
        watch.delivered += 1
        if push.number != watch.delivered:
            self._again(watch)
            return
        key = self._subjects.key(push.subject)
        if key.startswith(watch.watcher.prefix):  # the consumer knows the whole parts of the prefix only
            self._tell(watch, key, push)
        self._complete(watch, is_idle=not push.pending)

    def _tell(self, watch: _Watch, key: str, push: Push) -> None:
        ttl, removed, mark = read_headers(push.headers)
        version = version_of(push.sequence, mark)
        if watch.entries is not None:
            if removed:
                watch.entries.pop(key, None)
            else:
                watch.entries[key] = Entry(key, push.data, version)
        elif removed:
            watch.watcher.tell(Change(key, None, version))
        else:
            watch.watcher.tell(Change(key, push.data, version))
        self._expect(key, version, inf if removed else push.written_at + ttl)

    def _complete(self, watch: _Watch, *, is_idle: bool = False) -> None:
        """The entries are there once as many have come as there were; fewer come if some are removed meanwhile."""
        if watch.entries is None or watch.expected is None or not (is_idle or watch.delivered >= watch.expected):
            return
        now = self._clock + self._loop.time()
        entries, watch.entries = watch.entries.values(), None
        watch.watcher.tell_all(entry for entry in entries if not self._is_over(entry.key, entry.version, now))

    def _is_over(self, key: str, version: int, now: float) -> bool:
        at = self._deadlines.at(key)
        return at is not None and self._versions.get(key) == version and at <= now

    def _expect(self, key: str, version: int, ends: float) -> None:
        """Ask for the key when it has expired, by the server's clock."""
        before = self._deadlines.next
        self._deadlines.set(key, None if ends == inf else ends)
        self._versions.pop(key, None)
        if ends < inf:
            self._versions[key] = version
            if self._deadlines.next < before:
                self._news.set()

    async def _expire(self) -> None:
        """Ask for keys whose time is over; report those that are gone, and remove them."""
        due = self._deadlines.due(self._clock + self._loop.time())
        versions = {key: self._versions.pop(key) for key in due if key in self._versions}
        prefixes = tuple(watch.watcher.prefix for watch in self._watches)
        keys = [key for key in versions if key.startswith(prefixes)]
        try:
            if keys:
                await asyncio.sleep(random.uniform(0.0, SPREAD))  # noqa: S311 - not all processes at once
            for start in range(0, len(keys), _TOGETHER):
                await self._ask({key: versions[key] for key in keys[start : start + _TOGETHER]})
        except DriverError:
            for key in keys:
                if key not in self._versions:
                    self._expect(key, versions[key], self._clock + self._loop.time() + PAUSE)
            raise

    async def _ask(self, versions: Mapping[str, int]) -> None:
        connection = await self._link.get()
        records, now = await self._stream.read(connection, *map(self._subjects.entry, versions))
        old = []
        for (key, version), record in zip(versions.items(), records, strict=True):
            if record is None or (record.version == version and not record.lives(now)):
                for watch in self._watches:
                    watch.watcher.tell(Change(key, None, version))
                if record is not None:
                    old.append((self._subjects.entry(key), record.sequence))
            elif record.version == version and key not in self._versions:
                self._expect(key, version, record.ends)  # the clocks do not agree
        await self._stream.erase_all(connection, old)
