"""Pull requests: asks the server for messages of one queue, one request a lane at a time, and keeps untaken ones.

A receive that was cancelled leaves its request standing: the next receive takes it over. Without one, messages that
arrive return after a moment without counting as an attempt, and a request that would stand for long is withdrawn.

A message that is on its way between two servers of a cluster while its request is withdrawn stays held until its lease
ends. So a short request is left to its end there, and only a queue without messages for a while gets a long one. While
a long one stands, the server says so repeatedly: a consumer that lost its leader is silent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import Any

from tasuki.clock import Clock
from tasuki.drivers.nats.envelope import unpack
from tasuki.drivers.nats.protocol.api import SECOND
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.protocol.exchange import frame
from tasuki.drivers.nats.queues.names import DELAYED, PLAIN, UNIQUE, Lane
from tasuki.drivers.nats.receiving.deliveries import Arrival, ReplyParts
from tasuki.errors import DriverError
from tasuki.system.tasks import Tasks

_SHARE = 0.06


def paced(least: float, queues: int) -> float:
    """Seconds between two requests of a queue: 17 a second for all of them, or fewer."""
    return max(least, queues * _SHARE)


SLICE = 0.5
"""Seconds that a request waits at the server, at least, and between two signs that a longer one stands, at least."""
LONGEST = 60.0
"""Seconds that a request waits at most."""
OVERDUE = 1.0
"""Seconds after its end, or its next sign, for which one is waited for; its consumer is looked for then."""
PER_QUIET = 8
"""How many times as long a request may wait as the queue has had no message."""


def longest(quiet: float, sign: float) -> float:
    """Seconds that a request may wait, by those without a message; one that is too short for signs waits no longer."""
    most = max(SLICE, min(quiet * PER_QUIET, LONGEST))
    return most if most > 2 * sign else min(most, sign)


class Pull:
    """One pull request that stands at the server, for ``wanted`` messages of a lane.

    ``no_wait`` with ``expires`` waits for the first message, and ends with the last one that is there. The server says
    now and again that a long one stands, from the leader of the consumer: one that lost its leader is silent.

    Args:
        token: tells it from earlier ones.
        wanted: messages.
        expires: seconds that it waits; 0: not at all.
        sign: seconds between two signs.
        now: the loop's time.
    """

    __slots__ = ("_silence", "content", "ends_at", "got", "overdue_at", "token", "wanted")

    def __init__(self, token: str, wanted: int, expires: float, sign: float, now: float) -> None:
        self.token = token
        self.wanted = wanted
        self.got = 0
        self.ends_at = now + expires
        is_signed = expires > 2 * sign  # the server takes no rarer signs
        self._silence = (sign if is_signed else expires) + OVERDUE if expires > 0 else inf
        self.overdue_at = now + self._silence
        fields: dict[str, Any] = {"batch": wanted, "no_wait": True}
        if expires > 0:
            fields["expires"] = int(expires * SECOND)
        if is_signed:
            fields["idle_heartbeat"] = int(sign * SECOND)
        self.content = json.dumps(fields).encode()
        """Of the request."""

    def stands(self, now: float) -> None:
        """The server said so."""
        self.overdue_at = now + self._silence


BATCH = 256
"""Messages that are asked for at once, while they come before their time."""


class Early:
    """Of one queue; a message comes early once, and after that the server keeps its time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._arrivals: list[Arrival] = []
        self.goes_on = False
        """Whether the last delayed message came early, so that the next ones may."""

    def __bool__(self) -> bool:
        return bool(self._arrivals)

    def keeps(self, arrival: Arrival) -> bool:
        """Whether this delayed message came before its time; it is kept here then."""
        self.goes_on = unpack(arrival.data, "")[0].due > self._clock.time()
        if self.goes_on:
            self._arrivals.append(arrival)
        return self.goes_on

    def rest(self) -> list[Arrival]:
        """The messages kept here, which the caller returns to the server."""
        left, self._arrivals = self._arrivals, []
        return left


GRACE = 0.05
"""Seconds that a request, or an untaken message, is kept for the next receive."""

_SHORTEST = 0.01
"""Seconds that a receive without a wait waits: a request that never ends by itself would be lost on a close."""
_MOMENT = 0.01
"""Seconds in which a message that was just published reaches a request that waits for it."""
_MANY = (PLAIN, UNIQUE, DELAYED)
"""The lanes of which many messages are asked for at once."""
_ANSWER = 0.25
"""Seconds within which a lane says that it has nothing; it may say nothing at all if another process was faster."""


class PullRequests:
    """The messages on their way in, of one queue on one connection after another.

    Args:
        stream: the queue's stream.
        give_back: returns untaken messages to the server; must not raise.
        count: how many queues this process has open.
        early: keeps delayed messages that come before their time.
    """

    def __init__(
        self,
        stream: str,
        give_back: Callable[[Sequence[Arrival]], Coroutine[None, None, None]],
        count: Callable[[], int],
        early: Early,
    ) -> None:
        self._stream = stream
        self._queue_count = count
        self.lanes: Sequence[Lane] = ()
        self._ranks: Mapping[str, int] = {}
        self._give_back = give_back
        self._pulls: dict[str, Pull] = {}
        self._subscription: tuple[Connection, int] | None = None
        self._withdrawn_on: Connection | None = None
        """Where requests were called back: what the server sent before it knew is on its way."""
        self._lock = asyncio.Lock()
        self._buffer: list[Arrival] = []
        self._early = early
        self._last_arrival_at = asyncio.get_running_loop().time()  # it is not known to be quiet
        self._count = 0
        self._changed: asyncio.Future[None] | None = None
        self._is_closed = False
        self._returning = Tasks()
        self._timer: asyncio.TimerHandle | None = None
        self._only: Lane | None = None
        self._is_interrupted = False
        self.is_doubtful = False
        """Whether a consumer says nothing, or that it is not there."""

    def use(self, lanes: Sequence[Lane]) -> None:
        """It has these lanes now."""
        self.lanes = sorted(lanes, key=lambda lane: lane.rank)
        self._ranks = {lane.name: lane.rank for lane in lanes}
        self._is_interrupted = False

    def interrupt(self) -> None:
        """End what waits, until there are lanes to ``use``."""
        self._is_interrupted = True
        self._wake()

    def arrived(self, receipt: str, parts: ReplyParts, data: bytes) -> None:
        """A message came in."""
        now = asyncio.get_running_loop().time()
        arrival = Arrival(receipt, parts, data, now, self._ranks.get(parts.consumer, 9))
        if parts.consumer != DELAYED or self._only is not None or not self._early.keeps(arrival):
            self._last_arrival_at = now
            self._buffer.append(arrival)
        request = self._pulls.get(parts.consumer)
        if request is not None:
            request.got += 1
            if request.got >= request.wanted:
                del self._pulls[parts.consumer]
                self._wake()
        if not self._lock.locked():
            self._return_soon()

    def ended(self, lane: str, token: str, status: str) -> None:
        """The server ended a request, or said that it stands."""
        request = self._pulls.get(lane)
        if request is None or request.token != token:
            return
        if status.startswith("100"):
            request.stands(asyncio.get_running_loop().time())
            return
        del self._pulls[lane]
        if status.startswith(("503", "409 Consumer Deleted")):
            self.is_doubtful = True
        self._wake()

    def lost(self) -> None:
        """The connection is gone, and with it all requests; the received messages stay ours until their leases end."""
        self._pulls.clear()
        self._wake()

    def put_back(self, arrivals: Sequence[Arrival]) -> None:
        """Take back what a receive could not pass on."""
        self._buffer[:0] = arrivals
        if not self._lock.locked():
            self._return_soon()

    async def take(self, connection: Connection, limit: int, wait: float, lane: Lane | None = None) -> list[Arrival]:
        """Up to ``limit`` messages, as soon as there is one: of the highest priority, or of this ``lane``.

        Raises:
            BrokerUnavailableError: the server is unavailable.
        """
        until = asyncio.get_running_loop().time() + wait
        try:
            async with asyncio.timeout(max(wait, GRACE)):
                await self._lock.acquire()
        except TimeoutError:
            return []  # another receive has waited for nothing just as long
        try:
            self._only = lane
            if self._is_offered and self._asked[0].rank < self._asked[-1].rank:
                # These messages may be of a low lane, while messages of a higher one are on their way: they go first.
                await asyncio.sleep(_MOMENT)
            remaining, has_asked = wait, False
            while not self._is_over and not self._is_offered:
                if has_asked and (remaining <= 0.0 or self._early):
                    break
                most = longest(asyncio.get_running_loop().time() - self._last_arrival_at, self._sign)
                await self._ask(connection, limit, min(remaining, most), most)
                remaining, has_asked = until - asyncio.get_running_loop().time(), True
            return [] if self._is_over else self._pick(limit)
        finally:
            self._only = None
            self._lock.release()
            if self._buffer or self._early or self._pulls:
                self._return_soon()

    async def close(self) -> None:
        """Ask no more."""
        self._is_closed = True
        self._wake()
        self._withdraw()
        if (connection := self._withdrawn_on) is not None:
            with suppress(DriverError):  # what comes for the requests comes before this answer
                await connection.exchange([(f"{connection.address.api}.INFO", b"")], within=2 * SLICE)
        end = asyncio.get_running_loop().time() + 2 * SLICE
        while self._pulls and asyncio.get_running_loop().time() < end:
            await self._sleep(end)
        if self._timer is not None:
            self._timer.cancel()
        await self._returning.wait()

    @property
    def is_receiving(self) -> bool:
        """Whether a receive is under way, or a request or a message waits for the next one; safe in any thread."""
        return self._lock.locked() or bool(self._pulls) or self.has_messages

    @property
    def has_messages(self) -> bool:
        """Whether a message waits for the next receive; safe in any thread."""
        return bool(self._buffer) or bool(self._early)

    @property
    def sequences(self) -> set[int]:
        """The numbers of the messages that wait for the next receive."""
        return {arrival.parts.sequence for arrival in self._buffer}

    def rest(self) -> list[Arrival]:
        """The untaken messages, which are the caller's now."""
        left, self._buffer = self._buffer, []
        return left + self._early.rest()

    def _pick(self, limit: int) -> list[Arrival]:
        """Pick from the messages here: high priority first, then the order in the stream."""
        self._buffer.sort(key=lambda arrival: (arrival.rank, arrival.parts.sequence))
        if self._only is None:
            taken, self._buffer = self._buffer[:limit], self._buffer[limit:]
            return taken
        taken = [arrival for arrival in self._buffer if arrival.parts.consumer == self._only.name][:limit]
        self._buffer = [arrival for arrival in self._buffer if arrival not in taken]
        return taken

    @property
    def _asked(self) -> Sequence[Lane]:
        """The lanes of the receive under way."""
        return self.lanes if self._only is None else [self._only]

    @property
    def _is_offered(self) -> bool:
        """Whether something came that the receive under way wants."""
        if self._only is None:
            return bool(self._buffer)
        return any(arrival.parts.consumer == self._only.name for arrival in self._buffer)

    async def _ask(self, connection: Connection, limit: int, wait: float, longest: float) -> None:
        """Ask until something is there, or for ``wait`` seconds; a request stands for ``longest`` at most."""
        asked = self._asked
        if self._subscription is None or self._subscription[0] is not connection:
            self._subscription = connection, connection.subscribe()
        if len(asked) > 1:
            await self._ask_high_lanes(connection, limit)
            if self._buffer or self._is_over:
                return
        end = asyncio.get_running_loop().time() + max(wait, _SHORTEST)
        expires = longest if wait >= SLICE else max(wait, _SHORTEST)  # the next receive takes it over
        frames = [
            self._request(connection, lane.name, self._batch(lane, limit), expires)
            for lane in asked
            if lane.name not in self._pulls
        ]
        connection.send(b"".join(frames))
        while not self._is_over and (self._is_flowing or (self._pulls and not self._is_offered)):
            if self._early and wait >= SLICE and not self._is_flowing:
                return  # there may be more of them, and a message whose time has come behind them
            if not self._is_flowing and any(lane.name not in self._pulls for lane in asked):
                return  # that lane is asked again, while the requests of the others stand
            if self._is_flowing or (len(self.lanes) == 1 and frames and expires <= wait):
                await self._sleep_on(connection)
            elif asyncio.get_running_loop().time() < end:
                await self._sleep_on(connection, end)
            else:
                return  # a request of an earlier receive, or of another lane, ends later

    def _batch(self, lane: Lane, limit: int) -> int:
        """How many messages of a lane to ask for."""
        if lane.name == DELAYED and self._early.goes_on and self._only is None:
            return max(limit, BATCH)
        return limit if lane.name in _MANY or len(self._asked) == 1 else 1

    @property
    def _is_flowing(self) -> bool:
        """Whether a request has been answered in part: the rest is on its way."""
        return any(request.got for request in self._pulls.values())

    @property
    def _is_over(self) -> bool:
        return self._is_closed or self.is_doubtful or self._is_interrupted

    async def _ask_high_lanes(self, connection: Connection, limit: int) -> None:
        """Ask the lanes of higher priority one by one for what they have, those that are not being asked already."""
        loop = asyncio.get_running_loop()
        for lane in self.lanes:
            left = limit - len(self._buffer)
            if lane.rank == self.lanes[-1].rank or left <= 0:
                return
            if lane.name in self._pulls:
                continue
            connection.send(self._request(connection, lane.name, left, 0.0))
            end = loop.time() + _ANSWER
            while lane.name in self._pulls and loop.time() < end and not self._is_over:
                await self._sleep_on(connection, end)
            self._pulls.pop(lane.name, None)

    def _request(self, connection: Connection, lane: str, batch: int, expires: float) -> bytes:
        self._count += 1
        now = asyncio.get_running_loop().time()
        request = self._pulls[lane] = Pull(str(self._count), batch, expires, self._sign, now)
        subject = f"{connection.address.api}.CONSUMER.MSG.NEXT.{self._stream}.{lane}"
        assert self._subscription is not None
        token = f"{self._stream}.{lane}.{request.token}"
        return frame(subject, request.content, connection.status_inbox(self._subscription[1], token))

    @property
    def _sign(self) -> float:
        """Seconds between two signs that a request stands."""
        return paced(SLICE, self._queue_count())

    def _withdraw(self) -> None:
        """Call the requests back, unless all end soon; a message that is on its way to this server still arrives."""
        if self._subscription is None:
            return
        connection, number = self._subscription
        soon = 0.0 if self._is_closed and connection.is_alone else asyncio.get_running_loop().time() + SLICE
        if all(request.ends_at <= soon for request in self._pulls.values()):
            return
        with suppress(DriverError):  # they went with the connection
            connection.unsubscribe(number)
        self._subscription, self._withdrawn_on = None, connection
        self._pulls.clear()

    async def _sleep_on(self, connection: Connection, until: float = float("inf")) -> None:
        """Until something changes; an overdue request means that its consumer has lost its leader."""
        await self._sleep(min(self._overdue_at, until))
        if not connection.is_alive:
            connection.send(b"")  # raises what became of it
        if asyncio.get_running_loop().time() >= self._overdue_at:
            self._pulls.clear()  # what still comes for them is taken all the same
            self.is_doubtful = True

    @property
    def _overdue_at(self) -> float:
        """When the first request is overdue."""
        return min((request.overdue_at for request in self._pulls.values()), default=float("inf"))

    async def _sleep(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        changed = self._changed
        if changed is None or changed.done():
            changed = self._changed = loop.create_future()
        timer = loop.call_at(until, self._wake) if until < float("inf") else None
        try:
            await asyncio.wait([changed])
        finally:
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _return_soon(self) -> None:
        if self._timer is None and not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(GRACE, self._return)

    def _return(self) -> None:
        """Withdraw the requests, and return messages that no receive came for."""
        self._timer = None
        if self._lock.locked():
            return
        self._withdraw()
        if self._buffer or self._early:
            self._returning.start(self._give_back(self.rest()), "release")
