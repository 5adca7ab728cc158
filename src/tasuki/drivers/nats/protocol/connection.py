"""Connection: one connection on one event loop, on which batches of requests go out at once and are answered.

It uses the client's own connection (addresses, TLS, credentials, pings), but no reconnect: the outcome of requests sent
before a connection breaks is unknown, and sending them again is the publisher's decision. It reads and writes
past the client's subscriptions and its buffer: one object and one task switch less for each message.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import count
from math import inf
from typing import TYPE_CHECKING, TypeVar

from tasuki.drivers.nats.failures import denied, lost, unconnected
from tasuki.drivers.nats.protocol.address import Address
from tasuki.drivers.nats.protocol.exchange import Exchange, Repeating, frame, frames
from tasuki.drivers.toolkit.guard import not_open
from tasuki.drivers.toolkit.reconnecting import Reconnecting
from tasuki.errors import AccessDeniedError, BrokerTimeoutError, BrokerUnavailableError, DriverError, Outcome
from tasuki.system.tasks import OnFailure

if TYPE_CHECKING:
    from tasuki.drivers.nats.protocol.client import Client


BEAT = 0.5
"""Seconds between two checks."""

SILENCE = 4.0
"""Seconds of silence after which a connection is given up, if it is not still busy with what we send."""


class Pulse:
    """Notices that one connection is dead without a close: a machine lost its power, a network was cut.

    A server answers a PING at once, whatever its streams do. So the pulse sends one over a connection on which
    something was sent and nothing came, and gives it up when that is not answered either. It counts time in beats of
    the event loop: a process that was suspended or blocked does not blame the server for its own silence.

    Args:
        timeout: seconds within which the server must answer in any case.
        ask: sends a PING.
        is_sending: whether the socket still has something of ours.
        give_up: called once when it is dead.
    """

    def __init__(
        self,
        timeout: float,
        *,
        ask: Callable[[], None],
        is_sending: Callable[[], bool],
        give_up: Callable[[], None],
    ) -> None:
        self._most = timeout
        self._usual = min(timeout, SILENCE)
        self._ask = ask
        self._is_sending = is_sending
        self._give_up = give_up
        self._beats = 0
        self.is_awaited = False
        """Whether something was sent since anything came."""
        self._wait()

    def heard(self) -> None:
        """Something came."""
        self.is_awaited = False
        self._beats = 0

    def cancel(self) -> None:
        """No more of this connection."""
        self._timer.cancel()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(BEAT, self._beat)

    def _beat(self) -> None:
        self._beats = self._beats + 1 if self.is_awaited else 0
        if self._beats * BEAT > (self._most if self._is_sending() else self._usual):
            self._give_up()
            return
        if self._beats == 1:
            self._ask()
        self._wait()


_log = logging.getLogger("tasuki.driver.nats")

_ADVISORY = b"$JS.EVENT.ADVISORY.STREAM."

_CHANGED = (b"UPDATED", b"RESTORE_COMPLETE")
"""What the server publishes when a stream was changed, or made out of a backup."""

_MAY_BE = (b"CREATED", b"LEADER_ELECTED")
"""What it publishes when a stream may be another one of this name; for one that got replicas, the second alone."""

_CHUNK = 2**20
"""Bytes after which writing waits for the server to take them."""

OnDelivery = Callable[[str, bytes], None]

OnStatus = Callable[[str, str], None]

OnChange = Callable[[str, bool], None]
"""Gets a stream, and whether it was changed; else it may have been."""

Line = tuple[str, Callable[[bytes], bytes]]
"""A subject, and what answers the questions that come there."""


def _ignored(*_: object) -> None:
    """What a connection without pull requests does with them."""


class Connection:
    """Usable after ``connect`` until it is lost, and never again then."""

    def __init__(
        self,
        address: Address,
        on_delivery: OnDelivery | None = None,
        on_status: OnStatus | None = None,
        on_loss: Callable[[], None] | None = None,
        on_change: OnChange | None = None,
        line: Line | None = None,
    ) -> None:
        self.address = address
        self.opened_at = inf
        """When it was made, by the loop's clock, which all threads share."""
        self.server = ""
        """The address that it is connected to."""
        self.hears_changes = on_change is not None and address.domain is None
        """Whether the server reports changes of streams here, as far as is known; not from another domain."""
        self.max_payload = 0
        self.is_alone = False
        """Whether each message comes from this server itself, and none is on its way from another one."""
        self._on_delivery = on_delivery or _ignored
        self._on_status = on_status or _ignored
        self._on_loss = on_loss or _ignored
        self._on_change = on_change
        self._line = line
        self._client: Client | None = None
        self._pulse: Pulse | None = None
        self._exchanges: dict[bytes, Exchange] = {}
        self._numbers = count()
        self._subscriptions = count(2 + len(_CHANGED + _MAY_BE))
        self._inbox = b"%b.%b" % (address.inbox_prefix.encode(), secrets.token_hex(11).encode())
        self._inbox_size = len(self._inbox) + 1
        self._problem: DriverError | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it is connected, as far as is known."""
        return self._client is not None and self._problem is None

    async def connect(self, lost_server: str = "") -> None:
        """Connect to one of the servers; the one that was lost comes last, as it may take a connection and say nothing.

        Raises BrokerUnavailableError or AccessDeniedError.
        """
        problem: DriverError | None = None
        servers = random.sample(list(self.address.servers), len(self.address.servers))
        for server in sorted(servers, key=lambda server: server == lost_server):
            try:
                await self._connect(server)
            except DriverError as error:
                problem = error if problem is None or isinstance(error, AccessDeniedError) else problem
            else:
                return
        raise problem or lost("no servers are given", driver=self.address.driver)

    async def _connect(self, server: str) -> None:
        import nats.errors  # here and not above: all modules can be imported without the client

        from tasuki.drivers.nats.protocol.client import Client

        must_encrypt = "tls" in self.address.options or server.startswith("tls://")
        client = Client(self._route, self._heard, must_encrypt=must_encrypt)

        async def on_closed() -> None:
            if self._client is client:
                self._lose(lost("the connection was lost", driver=self.address.driver))

        async def undo() -> None:
            self._client = None
            await client.end()

        try:
            async with OnFailure(undo), asyncio.timeout(self.address.connect_timeout):
                await client.connect(
                    servers=[server],
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=max(1, round(self.address.connect_timeout)),
                    ping_interval=max(1, round(self.address.timeout)),
                    max_outstanding_pings=2,
                    error_cb=self._on_error,
                    closed_cb=on_closed,
                    **self.address.options,
                )
                self._connected(client, server)
        except (OSError, ValueError, nats.errors.Error) as error:
            raise unconnected(error, server, driver=self.address.driver) from error

    def _connected(self, client: Client, server: str) -> None:
        self._client = client
        self.opened_at = asyncio.get_running_loop().time()
        self.server = server
        client.write(b"SUB %b.*.* 1\r\n" % self._inbox)
        if self._on_change is not None:
            # A user without the right to subscribe is refused that, and no more.
            for number, change in enumerate(_CHANGED + _MAY_BE, 2):
                client.write(b"SUB %b%b.* %d\r\n" % (_ADVISORY, change, number))
        if self._line is not None:
            client.write(b"SUB %b %d\r\n" % (self._line[0].encode(), next(self._subscriptions)))
        self.max_payload, self.is_alone = client.max_payload, client.is_alone and self.address.domain is None
        self._pulse = Pulse(
            self.address.timeout,
            ask=lambda: client.write(b"PING\r\n"),
            is_sending=lambda: client.is_sending,
            give_up=lambda: self.drop("it does not answer"),
        )

    async def close(self) -> None:
        """Disconnect; unanswered requests fail."""
        client, self._client = self._client, None
        if self._problem is None:
            self._problem = lost("the connection was closed", driver=self.address.driver)
        self._fail()
        if self._pulse is not None:
            self._pulse.cancel()
        if client is not None:
            await client.end()

    def abort(self) -> None:
        """End it at once; unanswered requests fail."""
        self.drop("the connection was closed")

    def drop(self, why: str) -> None:
        """Give it up: it does not answer. Its end comes by itself."""
        if self._problem is None:
            self._lose(lost(why, driver=self.address.driver))
            if self._client is not None:
                self._client.abort()

    def send(self, frames: bytes) -> None:
        """Write frames; raises BrokerUnavailableError if it is certain that they do not leave."""
        if self._client is None or self._problem is not None:
            raise self._gone()
        if self._pulse is not None:
            self._pulse.is_awaited = True
        try:
            self._client.write(frames)
        except (OSError, RuntimeError) as error:
            raise lost(error, driver=self.address.driver) from error

    def subscribe(self) -> int:
        """Be ready for the answers to pull requests; returns the number of this subscription."""
        number = next(self._subscriptions)
        self.send(b"SUB %b.s.%d.> %d\r\n" % (self._inbox, number, number))
        return number

    def unsubscribe(self, number: int) -> None:
        """Withdraw its pull requests: the server drops requests whose answer has no subscriber."""
        self.send(b"UNSUB %d\r\n" % number)

    def status_inbox(self, subscription: int, token: str) -> str:
        """The reply subject of a pull request: statuses come with its token, deliveries by their own subjects."""
        return f"{self._inbox.decode()}.s.{subscription}.{token}"

    async def exchange(
        self,
        requests: Sequence[tuple[str, bytes]],
        *,
        headers: Sequence[bytes] = (),
        before: bytes = b"",
        is_repeated: bool = False,
        within: float | None = None,
    ) -> Exchange:
        """Send requests and wait for all answers, or for what makes that impossible.

        Args:
            requests: subjects and contents.
            headers: a block of NATS headers for each, empty for none; or none for all.
            before: frames to send first, which get no answer.
            is_repeated: whether to send requests again while none is answered.
            within: seconds to wait for the answers, if not as long as for any.

        Raises:
            BrokerUnavailableError: nothing was sent.
        """
        number = b"%d" % next(self._numbers)
        exchange = self._exchanges[number] = Exchange([subject for subject, _ in requests])
        inbox = b"%b.%b." % (self._inbox, number)
        seconds = min(self.address.timeout, within or self.address.timeout)
        timer = asyncio.get_running_loop().call_later(seconds, self._overdue, exchange, seconds)
        repeating: Repeating | None = None
        try:
            if len(requests) == 1:
                self.send(b"".join((before, *frames(requests, headers, inbox))))
            else:
                await self._send_all(before, frames(requests, headers, inbox), exchange)
            if is_repeated:
                repeating = Repeating(exchange, lambda exchange: self._repeat(before, requests, inbox, exchange))
            await exchange.done
        finally:
            timer.cancel()
            if repeating is not None:
                repeating.cancel()
            del self._exchanges[number]
        return exchange

    async def _send_all(self, before: bytes, frames: Iterable[bytes], exchange: Exchange) -> None:
        """Write frames in chunks, as fast as the server takes them; raises only if nothing of them has left."""
        chunk, size, has_sent = [before], len(before), False
        for each in frames:
            chunk.append(each)
            size += len(each)
            if size <= _CHUNK:
                continue
            if not self._send_on(b"".join(chunk), has_sent=has_sent):
                return
            chunk, size, has_sent = [], 0, True
            await self._drained(exchange)
        self._send_on(b"".join(chunk), has_sent=has_sent)

    def _send_on(self, data: bytes, *, has_sent: bool) -> bool:
        """Write; what cannot be written after a first part is a loss, which the exchange hears of, and no refusal."""
        try:
            self.send(data)
        except DriverError as problem:
            if not has_sent:
                raise
            self.drop(str(problem))
            return False
        return True

    async def _drained(self, exchange: Exchange) -> None:
        """Wait until the socket has room, or no caller waits for the answers any more."""
        if self._client is None:
            return
        written = asyncio.ensure_future(self._client.written())
        try:
            await asyncio.wait([written, exchange.done], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not written.done():
                written.cancel()
            elif not written.cancelled():
                written.exception()  # a loss reaches the exchange by itself

    def _repeat(self, before: bytes, requests: Sequence[tuple[str, bytes]], inbox: bytes, exchange: Exchange) -> None:
        again = (frame(*requests[index], f"{inbox.decode()}{index}") for index in exchange.unanswered())
        with suppress(DriverError):  # it was lost, and the exchange knows that
            self.send(before + b"".join(again))

    def _overdue(self, exchange: Exchange, seconds: float) -> None:
        """The connection may be well: a stream without a leader does not answer."""
        text = f"driver {self.address.driver!r}: NATS did not answer within {seconds:g} s"
        exchange.fail(BrokerTimeoutError(text, driver=self.address.driver))

    def _heard(self) -> None:
        if self._pulse is not None:
            self._pulse.heard()

    def _route(self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        try:
            if reply and reply.startswith(b"$JS.ACK."):
                self._on_delivery(reply.decode(), data)
            elif subject.startswith(self._inbox):
                number, _, tail = subject[self._inbox_size :].partition(b".")
                status = headers[8:12].decode().strip() if headers else ""
                if number == b"s":
                    self._on_status(tail.decode(), headers[9:].decode(errors="replace") if headers else status)
                elif (exchange := self._exchanges.get(number)) is not None:
                    exchange.answer(int(tail), data if data or not status else status)
            elif subject.startswith(_ADVISORY):
                if self._on_change is not None:
                    change, _, stream = subject[len(_ADVISORY) :].partition(b".")
                    self._on_change(stream.decode(), change in _CHANGED)
            elif reply and self._line is not None and subject == self._line[0].encode():
                self.send(frame(reply.decode(), self._line[1](data)))
        except Exception as error:  # the client would stop to read without a word
            _log.debug("a message from NATS could not be handled", exc_info=True)
            self.drop(f"a message that cannot be handled: {error}")

    async def _on_error(self, error: Exception) -> None:
        text = str(error).lower()
        if "permissions violation" in text:
            if _ADVISORY.decode().lower() in text:
                self.hears_changes = False
            for exchange in list(self._exchanges.values()):
                if any(subject.lower() in text for subject in exchange.subjects):
                    # What went elsewhere in the same exchange may have been taken.
                    outcome: Outcome = "rejected" if len(set(exchange.subjects)) == 1 else "unknown"
                    exchange.fail(denied(error, driver=self.address.driver, outcome=outcome))

    def _lose(self, problem: DriverError) -> None:
        if self._pulse is not None:
            self._pulse.cancel()
        if self._problem is None:
            self._problem = problem
            self._fail()
            self._on_loss()

    def _fail(self) -> None:
        for exchange in list(self._exchanges.values()):
            exchange.fail(lost("the connection was lost", driver=self.address.driver, outcome="unknown"))

    def _gone(self) -> DriverError:
        why = str(self._problem) if self._problem else f"driver {self.address.driver!r} is not connected"
        return BrokerUnavailableError(why, driver=self.address.driver)


C = TypeVar("C", bound=Connection)


def reconnecting(address: Address, make: Callable[[], C]) -> Reconnecting[C]:
    """A connection that is made when it is needed, and not to the lost server if another one answers.

    ``make`` makes one that is not yet connected.
    ``get`` waits for one attempt. Raises BrokerUnavailableError, or AccessDeniedError.
    """
    last: C | None = None

    async def connect() -> C:
        nonlocal last
        if last is not None:
            await last.close()  # its tasks may still run
        connection = make()
        await connection.connect(last.server if last is not None else "")
        last = connection
        return connection

    return Reconnecting(connect, "connect to NATS", lambda: not_open(address.driver))
