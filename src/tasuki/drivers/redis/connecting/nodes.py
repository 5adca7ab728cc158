"""Nodes: the servers that hold the queues, and one event loop's links to them.

A lost link is made again by the next call that needs it: one attempt at a time, which all callers share, and a pause
that grows between attempts. The Sentinels are asked for the master at each attempt; the map of a cluster is kept until
a server says that it is wrong, or cannot be reached. While a server is silent or misses its replicas, the Sentinels or
the other nodes are asked whether it is still a master: one that was frozen or cut off cannot say so itself.
"""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any

from tasuki.drivers.redis.connecting.addresses import Addresses, Login
from tasuki.drivers.redis.connecting.link import SILENCE, Link, Word, connect
from tasuki.drivers.redis.connecting.sentinels import master_of
from tasuki.drivers.redis.errors import NOT_THE_MASTER, LinkLostError, ReplyError, closed_error
from tasuki.drivers.redis.settings import Server
from tasuki.drivers.toolkit.reconnecting import Attempts
from tasuki.system.tasks import OnFailure

_ANY = Server("", 0)
"""Stands for the server where there is just one, and for the one of a slot that is not known yet."""
_UNKNOWN_HOST = (None, b"", b"?")
"""How a node says that it is at the address where it was asked."""
Range = tuple[int, int, Server]


class Nodes:
    """For one event loop. ``connect_timeout`` and ``timeout`` in seconds; ``on_link`` gets each link before its use."""

    def __init__(
        self,
        settings: Addresses,
        *,
        connect_timeout: float,
        timeout: float,
        on_link: Callable[[Link], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._on_link = on_link
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._links: dict[Server, Link] = {}
        self._attempts: defaultdict[Server, Attempts[Link]] = defaultdict(
            partial(Attempts, "connect to Redis", closed_error)
        )
        self._ranges: Sequence[Range] = ()
        self._moved: dict[int, Server] = {}
        self._first = 0
        self._seen: Collection[Server] = ()
        self._is_closed = False
        self._all: weakref.WeakSet[Link] = weakref.WeakSet()
        self._looking: asyncio.Task[None] | None = None
        self._look_not_before = 0.0

    async def call(self, slot: int, *words: Word) -> Any:
        """The answer of the server that has the slot. Raises LinkLostError or ReplyError.

        A redirected command was not carried out, so it is sent again to where it belongs, once.
        """
        link = await self.link(slot)
        try:
            return await link.call(*words)
        except ReplyError as refusal:
            if refusal.code in NOT_THE_MASTER:
                self._forget(link)
            elif refusal.code == "NOREPLICAS":
                self._doubt(link)
            elif refusal.code == "CLUSTERDOWN":  # the node is well, and perhaps the only one that can tell the next map
                self._ranges, self._moved = (), {}
            if not self._settings.is_cluster or refusal.code not in {"MOVED", "ASK"}:
                raise
            return await self._redirected(slot, refusal, link, words)

    async def link(self, slot: int) -> Link:
        """A link to the server that has the slot."""
        server = self.server(slot)
        link = self._links.get(server)
        return link if link is not None and not link.is_lost else await self._made(server, slot)

    async def masters(self) -> AsyncIterator[Link]:
        """A link to each server that holds queues."""
        yield await self.link(0)
        for first, _, server in tuple(self._ranges):
            if first:
                yield self._links.get(server) or await self._made(server, first)

    async def listener(self, slot: int) -> Link:
        """A connection of its own beside the slot's, for the caller to close."""
        server = (await self.link(slot)).server
        return await self._connect(server, self._settings.login)

    def serving(self, slot: int | None = None) -> Sequence[Link]:
        """The links to the servers that hold queues, or to one slot's server; empty while there is none."""
        if slot is not None or not self._settings.is_cluster:
            link = self._links.get(self.server(slot or 0))
            return () if link is None else (link,)
        servers = dict.fromkeys(server for _, _, server in self._ranges)
        return [link for server in servers if (link := self._links.get(server)) is not None]

    def leave(self, server: Server) -> None:
        """Give up a server that is no longer a master: what it was asked is of unknown outcome."""
        self._ranges, self._moved = (), {}
        for link in list(self._all):
            if link.server == server:
                link.close(LinkLostError(f"{server} is no longer the master"))

    async def drain(self) -> None:
        """Wait until everything that was asked is answered, or the links are lost."""
        links = [link for link in self._links.values() if not link.is_lost]
        await asyncio.gather(*(link.call("PING") for link in links), return_exceptions=True)

    def close(self) -> None:
        """Close all links; what they were asked is of unknown outcome."""
        self._is_closed = True
        for attempts in self._attempts.values():
            attempts.abort()
        if self._looking is not None:
            self._looking.cancel()
        for link in list(self._all):
            link.close()

    def server(self, slot: int) -> Server:
        """Which server has the slot, as far as it is known: the same one for all slots unless it is a cluster."""
        if not self._settings.is_cluster:
            return _ANY
        if slot in self._moved:
            return self._moved[slot]
        return next((server for first, last, server in self._ranges if first <= slot <= last), _ANY)

    async def _made(self, server: Server, slot: int) -> Link:
        if self._is_closed:
            raise closed_error()
        return await self._attempts[server].share(lambda: self._attempt(server, slot))

    async def _attempt(self, server: Server, slot: int) -> Link:
        try:
            return await self._found(server, slot)
        except Exception:
            self._ranges, self._moved = (), {}
            raise

    async def _found(self, server: Server, slot: int) -> Link:
        """Find out where to connect, and connect."""
        if self._settings.is_cluster:
            if server == _ANY:
                self._ranges, self._moved = await self._map(), {}
                server = self.server(slot)
            if server == _ANY:
                raise ReplyError(f"CLUSTERDOWN no server has slot {slot}")
            link = self._links.get(server)
            return link or await self._kept(server, await self._connect(server, self._settings.login))
        if self._settings.master:
            return await self._kept(_ANY, await self._master(await master_of(self._settings, self.connect_sentinel)))
        return await self._kept(_ANY, await self._first_master())

    async def _kept(self, server: Server, link: Link) -> Link:
        with OnFailure(link.close):
            await self._on_link(link)
            if link.is_lost:
                raise LinkLostError(f"no connection to {link.server}: it was lost at once", is_sent=False)
        self._links[server] = link
        link.on_lost = lambda: self._drop(server, link)
        link.on_silent = lambda: self._doubt(link)
        return link

    def _drop(self, server: Server, link: Link) -> None:
        if self._links.get(server) is link:
            del self._links[server]

    def _forget(self, link: Link) -> None:
        """Look again where the master is, before the next call."""
        link.close(LinkLostError("the server is not the master"))
        self._ranges, self._moved = (), {}

    def _doubt(self, link: Link) -> None:
        """Find out whether the server is still a master, unless that was done just now."""
        loop = asyncio.get_running_loop()
        if self._looking is None and not self._is_closed and loop.time() >= self._look_not_before:
            self._look_not_before = loop.time() + SILENCE / 2
            self._looking = loop.create_task(self._look_again(link), name="look for the master")

    async def _look_again(self, link: Link) -> None:
        try:
            masters: Collection[Server] = ()
            ranges: Sequence[Range] = ()
            if self._settings.is_cluster:
                ranges = await self._map(but=link.server)
                masters = [server for _, _, server in ranges]
            elif self._settings.master:
                masters = [await master_of(self._settings, self.connect_sentinel)]
        except (LinkLostError, ReplyError):
            return
        finally:
            self._looking = None
        if masters and link.server not in masters:
            self.leave(link.server)
            self._ranges = ranges

    async def connect_sentinel(self, server: Server) -> Link:
        """A link to a Sentinel, for the caller to close."""
        return await self._connect(server, self._settings.sentinel)

    async def _connect(self, server: Server, login: Login) -> Link:
        if self._is_closed:
            raise closed_error()
        link = Link(server, self._timeout)
        self._all.add(link)
        return await connect(link, login, self._connect_timeout)

    async def _first_master(self) -> Link:
        """Of plain servers the first that can be reached; of several, one that is a master."""
        servers = self._settings.servers
        if len(servers) == 1:
            return await self._connect(servers[0], self._settings.login)
        problems: list[Exception] = []
        for number in range(len(servers)):
            turn = (self._first + number) % len(servers)
            try:
                link = await self._master(servers[turn])
            except (LinkLostError, ReplyError) as problem:
                problems.append(problem)
            else:
                self._first = turn
                return link
        raise problems[0]

    async def _master(self, server: Server) -> Link:
        """Connect to a server that must be a master; after a failover the old one may not know yet that it is none."""
        link = await self._connect(server, self._settings.login)
        with OnFailure(link.close):
            try:
                if (await link.call("ROLE"))[0] != b"master":
                    raise LinkLostError(f"{server} is not a master", is_sent=False)
            except ReplyError as refusal:
                if refusal.code != "NOPERM":
                    raise
        return link

    async def _map(self, but: Server = _ANY) -> Sequence[Range]:
        """Which server has which slots, from the first that answers, ``but`` not from this one."""
        problem: Exception = LinkLostError("no server is configured", is_sent=False)
        for server in dict.fromkeys((*self._links, *self._settings.servers, *self._seen)):
            if server == but:
                continue
            link = self._links.get(server)
            try:
                link = link or await self._kept(server, await self._connect(server, self._settings.login))
                slots = await link.call("CLUSTER", "SLOTS")
            except (LinkLostError, ReplyError) as failed:
                problem = failed
                continue
            if slots:
                named = [
                    [Server(server.host if host in _UNKNOWN_HOST else host.decode(), port) for host, port, *_ in nodes]
                    for _, _, *nodes in slots
                ]
                self._seen = dict.fromkeys(itertools.chain(*named))
                return [(first, last, nodes[0]) for (first, last, *_), nodes in zip(slots, named, strict=True)]
        raise problem

    async def _redirected(self, slot: int, refusal: ReplyError, link: Link, words: Sequence[Word]) -> Any:
        code, _, address = str(refusal).split(" ")[:3]
        host, _, port = address.rpartition(":")
        server = Server(host or link.server.host, int(port))
        if code == "MOVED":
            self._moved[slot] = server
            link = await self.link(slot)
        else:
            link = self._links.get(server) or await self._made(server, slot)
            link.call("ASKING")
        try:
            return await link.call(*words)
        except ReplyError as again:
            if again.code in {"MOVED", "ASK"}:
                raise ReplyError(f"TRYAGAIN {again}") from again
            raise
