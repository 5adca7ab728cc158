"""Link: one connection that many callers share.

Commands go out in the order of the calls, and answers come back in that order; so a cancelled caller only loses
interest in its answer, and no caller gets the answer of another. When the oldest answer is overdue, the connection
is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from tasuki.drivers.redis.connecting.addresses import Login
from tasuki.drivers.redis.errors import LinkLostError, ReplyError
from tasuki.drivers.redis.settings import Server

SILENCE = 1.0
"""Seconds without an answer after which ``on_silent`` is called, and again after as many."""
LARGEST = 2**30
"""Bytes of the largest reply: one value of a server is at most half of it, and a batch of messages is smaller."""
Word = str | bytes | int
_pack: Callable[[tuple[Word, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]
_MISSING = object()


class Link(asyncio.Protocol):
    """Made by ``connect``. ``on_push`` gets what the server sends without being asked, ``on_lost`` the end.

    ``on_silent`` is called while the oldest answer is late, but not yet overdue: another server may be the right one.
    """

    def __init__(self, server: Server, timeout: float) -> None:
        self.server = server
        self.on_push: Callable[[Any], None] = lambda _: None
        self.on_lost: Callable[[], None] = lambda: None
        self.on_silent: Callable[[], None] = lambda: None
        self.is_lost = False
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(replyError=ReplyError, protocolError=LinkLostError, notEnoughData=_MISSING)
        self._unread = 0
        """Bytes of the reply that is not whole yet, and of whole ones before it in the same piece."""
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.heard_at = self._loop.time()
        """When something came last, by the loop's clock."""
        self.deadline: asyncio.Timeout | None = None
        """While it is being connected."""
        self.reason = LinkLostError("the connection was closed")
        """Why it was lost."""
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._guard: asyncio.Task[None] | None = None

    def call(self, *words: Word) -> asyncio.Future[Any]:
        """Send a command; the future gets its answer, a ReplyError or a LinkLostError."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        if self.is_lost or self._transport is None:
            answer.set_exception(LinkLostError(str(self.reason), is_sent=False))
            return answer
        now = self._loop.time()
        self._waiting.append((now, answer))
        if self._timer is None:
            self._timer = self._loop.call_at(now + min(SILENCE, self._timeout), self._look)
        self._transport.write(_pack(words))
        return answer

    def send(self, *words: Word) -> None:
        """Send a command whose answer comes as a push."""
        if self._transport is not None and not self.is_lost:
            self._transport.write(_pack(words))

    def close(self, reason: LinkLostError | None = None) -> None:
        """End it at once; the waiting callers get a LinkLostError."""
        if self._transport is not None and not self.is_lost:
            self.reason = reason or self.reason
            self._transport.abort()
            self._lose()
        elif self._transport is None and self.deadline is not None and not self.deadline.expired():
            self.deadline.reschedule(self._loop.time())

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none of asyncio's classes
        connection = transport.get_extra_info("socket")
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._guard = self._loop.create_task(self._close_with_loop(), name="redis connection")

    def data_received(self, data: bytes) -> None:
        """Hand out the answers."""
        self.heard_at = self._loop.time()
        self._unread += len(data)
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not _MISSING:
                self._unread = 0
                self._hand_out(answer)
            if self._unread > LARGEST:
                raise LinkLostError(f"a reply of more than {LARGEST} bytes")
        except Exception as problem:  # the reader, and who reads a push, may trip over bad bytes anywhere
            self.close(LinkLostError(f"the server does not speak its protocol: {problem}"))

    def connection_lost(self, problem: Exception | None) -> None:
        """Tell everybody who waits."""
        if problem is not None:
            self.reason = LinkLostError(f"the connection was lost: {problem}")
        self._lose()

    def _hand_out(self, answer: Any) -> None:
        if not self._waiting:
            self.on_push(answer)
            return
        _, future = self._waiting.popleft()
        if future.done():
            return
        if isinstance(answer, ReplyError):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def _look(self) -> None:
        """Give up when the oldest answer is overdue."""
        self._timer = None
        if not self._waiting or self.is_lost:
            return
        now, asked = self._loop.time(), self._waiting[0][0]
        due = asked + self._timeout
        if due <= now:
            self.close(LinkLostError(f"no answer within {self._timeout:g} s", is_timeout=True))
            return
        is_silent = asked + SILENCE <= now
        self._timer = self._loop.call_at(min((now if is_silent else asked) + SILENCE, due), self._look)
        if is_silent:
            self.on_silent()

    def _lose(self) -> None:
        if self.is_lost:
            return
        self.is_lost = True
        if self._timer is not None:
            self._timer.cancel()
        if not self._ended.done():
            self._ended.set_result(None)
        waiting, self._waiting = self._waiting, deque()
        for _, future in waiting:
            if not future.done():
                future.set_exception(LinkLostError(str(self.reason), is_timeout=self.reason.is_timeout))
        self.on_lost()

    async def _close_with_loop(self) -> None:
        """Live as long as the connection: a loop that ends cancels this, and so ends the connection too."""
        try:
            await self._ended
        finally:
            self.close()


async def connect(link: Link, login: Login, connect_timeout: float) -> Link:
    """Connect and log in; a close of the link ends that. Raises LinkLostError or ReplyError."""
    server = link.server
    is_ready = False
    try:
        async with asyncio.timeout(connect_timeout) as link.deadline:
            await _connect(link, server, login)
            await _greet(link, login)
        if link.is_lost:  # right after its answer, before its first user
            raise link.reason
        is_ready = True
    except TimeoutError as problem:
        raise LinkLostError(f"no connection to {server} within {connect_timeout:g} s", is_sent=False) from problem
    except OSError as problem:
        raise LinkLostError(f"no connection to {server}: {problem}", is_sent=False) from problem
    except LinkLostError as problem:
        raise LinkLostError(f"no connection to {server}: {problem}", is_sent=False) from problem
    finally:
        link.deadline = None
        if not is_ready:
            link.close()
    return link


async def _connect(link: Link, server: Server, login: Login) -> None:
    loop = asyncio.get_running_loop()
    if not server.port:
        await loop.create_unix_connection(lambda: link, server.host)
    elif login.tls is None:
        await loop.create_connection(lambda: link, server.host, server.port)
    else:
        name = login.server_name or server.host
        await loop.create_connection(lambda: link, server.host, server.port, ssl=login.tls, server_hostname=name)


async def _greet(link: Link, login: Login) -> None:
    """Everything in one round trip; the first refusal counts."""
    commands: list[tuple[Word, ...]] = []
    if login.password:
        commands.append(("AUTH", login.username, login.password) if login.username else ("AUTH", login.password))
    if login.client_name:
        commands.append(("CLIENT", "SETNAME", login.client_name))
    commands.append(("SELECT", login.db) if login.db else ("PING",))
    answers = [link.call(*command) for command in commands]
    for answer in await asyncio.gather(*answers, return_exceptions=True):
        if isinstance(answer, ReplyError) and login.password and login.password in str(answer):
            # A server that does not know AUTH shows what came with it.
            raise ReplyError(str(answer).replace(login.password, "***")) from None
        if isinstance(answer, BaseException):
            raise answer
