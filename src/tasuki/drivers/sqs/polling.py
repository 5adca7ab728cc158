"""Receiving: long polls, which go on when their caller is cancelled, and messages that come before they are due.

A request for messages is never broken off, because SQS would hide for a whole lease what it was about to answer. The
next receive takes an abandoned poll over; messages for which no receive waits are returned.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from tasuki.clock import Clock
from tasuki.contracts.driver import Receipt, Received
from tasuki.drivers.sqs.clients import AT_ONCE, MOST_ENTRIES, Clients, Result
from tasuki.drivers.sqs.declaring import Declaring
from tasuki.drivers.sqs.envelope import copy, digest, read
from tasuki.drivers.sqs.limits import LONGEST_HIDDEN, delivery_number, is_bound_to, own_group, whole
from tasuki.drivers.sqs.publishing import Entry, Publishing
from tasuki.drivers.sqs.settling import Fate, Settling, is_bound
from tasuki.drivers.sqs.source import Held, Source
from tasuki.errors import BrokerUnavailableError, DriverError
from tasuki.system.tasks import Tasks

LONGEST_POLL = 2
"""Seconds that a request waits at SQS, and so the longest that a stop waits for it."""
_CHECK_EVERY = 2.0
FIND_EVERY = 10.0
"""Seconds between two checks of the queue of suspects, and between two checks for it while there is none."""
_FULL_HANDS = 0.1
"""Seconds between two checks whether a suspect with a key has been settled."""
_SYSTEM_ATTRIBUTES = [
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SentTimestamp",
    "MessageGroupId",
]


Arrived = tuple[Held, bytes]
"""A delivery and its body."""
Poll = asyncio.Task[list[Arrived]]


class Polling:
    """Receives from one queue; returns unwanted messages, and postpones early ones."""

    def __init__(
        self,
        driver: str,
        source: Source,
        clients: Clients,
        declaring: Declaring,
        settling: Settling,
        clock: Clock,
        *,
        checks_digests: bool,
    ) -> None:
        self._driver = driver
        self._source = source
        self._clients = clients
        self._declaring = declaring
        self._settling = settling
        self._clock = clock
        self._checks_digests = checks_digests
        self._polls: dict[Poll, int] = {}
        self._abandoned: set[Poll] = set()
        self._returns = Tasks()
        self._kept: list[Arrived] = []
        self._next_check = float("-inf")
        self._closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def receive(self, limit: int, wait: float) -> list[Received]:
        """Up to ``limit`` messages; empty after ``wait`` seconds, or as soon as ``close`` is called."""
        end = self._clock.monotonic() + wait
        while True:
            # SQS waits whole seconds: the last one may last half a second longer, or is spent here.
            if self._hands_are_full():
                await asyncio.wait([self._closing], timeout=min(max(end - self._clock.monotonic(), 0), _FULL_HANDS))
                if self._closing.done() or end <= self._clock.monotonic():
                    return []
                continue
            seconds = max(min(round(end - self._clock.monotonic()), LONGEST_POLL), 0)
            arrived = await self._arrived(self._adopt(limit) or self._start(limit, seconds))
            if arrived:
                return [self._handed_out(held, body) for held, body in arrived]
            left = end - self._clock.monotonic()
            if left <= 0 or self._closing.done():
                return []
            if seconds == 0:
                await asyncio.wait([self._closing], timeout=left)

    async def close(self, timeout: float) -> None:
        """End all receives now; running polls come to their end, and their messages are returned."""
        if not self._closing.done():
            self._closing.set_result(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while pending := {*self._polls, *self._returns}:
                    await asyncio.wait(pending)
        for task in {*self._polls, *self._returns}:
            task.cancel()
        if rest := {*self._polls, *self._returns}:
            await asyncio.wait(rest, timeout=timeout)

    def _adopt(self, limit: int) -> Poll | None:
        """A poll that its caller has abandoned and that brings no more than is wanted now."""
        for poll in self._abandoned:
            if self._polls.get(poll, limit + 1) <= limit:
                self._abandoned.discard(poll)
                return poll
        return None

    def _start(self, limit: int, seconds: int) -> Poll:
        poll = asyncio.get_running_loop().create_task(self._poll(limit, seconds), name=f"poll {self._source.spec.name}")
        self._polls[poll] = limit
        poll.add_done_callback(self._ended)
        return poll

    def _ended(self, poll: Poll) -> None:
        del self._polls[poll]
        if poll in self._abandoned:
            self._abandoned.discard(poll)
            self._give_back(poll)

    async def _arrived(self, poll: Poll) -> list[Arrived]:
        """What a poll brings; abandons it when the caller is cancelled or the driver closed."""
        is_ours = False
        try:
            both: list[asyncio.Future[Any]] = [poll, self._closing]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            is_ours = poll.done() and not self._closing.done()
        finally:
            if not is_ours:
                self._abandon(poll)
        return poll.result() if is_ours else []

    def _abandon(self, poll: Poll) -> None:
        if poll.done():
            self._give_back(poll)
        else:
            self._abandoned.add(poll)

    def _give_back(self, poll: Poll) -> None:
        if poll.cancelled() or poll.exception() is not None or not poll.result():
            return
        self._returns.start(self._return(poll.result()), "release")

    async def _return(self, arrived: list[Arrived]) -> None:
        with contextlib.suppress(DriverError):  # then they come back when their lease ends
            await self._settling.hand_back(self._source, [held for held, _ in arrived])

    def _handed_out(self, held: Held, body: bytes) -> Received:
        self._source.add(held, self._clock.boottime())
        envelope = held.envelope
        return Received(envelope.id, body, dict(envelope.headers), held, held.attempt, held.is_suspect)

    async def _poll(self, limit: int, seconds: int) -> list[Arrived]:
        """Ask once, and while everything asked for comes, ask several times at once, without waiting."""
        if suspect := await self._suspect():
            return suspect
        arrived = await self._ask(min(limit, self._per_request), seconds)
        at_once, is_full = 2, len(arrived) == self._per_request
        while is_full and len(arrived) < limit:
            room = limit - len(arrived)
            shares = [
                min(self._per_request, room - start)
                for start in range(0, min(room, at_once * self._per_request), self._per_request)
            ]
            answers = await asyncio.gather(*(self._ask(share, 0) for share in shares), return_exceptions=True)
            parts = [answer for answer in answers if isinstance(answer, list)]
            arrived += [item for part in parts for item in part]
            is_full = sum(map(len, parts)) == sum(shares)
            at_once = min(at_once * 2, AT_ONCE)
        return arrived

    @property
    def _per_request(self) -> int:
        """Of a FIFO queue one: SQS gives several of one group at once, and at most one of a key may be held."""
        return 1 if self._source.is_fifo else MOST_ENTRIES

    def _hands_are_full(self) -> bool:
        """Whether to take no more for now: a suspect with a key is charged by SQS if another one ends this process."""
        source = self._source
        return source.is_fifo and source.holds_suspect_since(self._clock.boottime() - source.spec.lease)

    def keep(self, arrived: list[Arrived]) -> None:
        """Hand a suspect out at the next receive."""
        self._kept += arrived

    async def _suspect(self) -> list[Arrived]:
        """One from the queue of suspects, if it is time for a check, and we hold none of it."""
        kept, self._kept = self._kept, []
        source, now = self._source, self._clock.monotonic()
        if kept or now < self._next_check or source.spec.temporary or source.holds_started(self._clock.boottime()):
            return kept
        if source.suspects_url is None:
            source.suspects_url = await self._declaring.find_suspects(source.spec, source.url)
        if source.suspects_url is None:
            self._next_check = now + min(FIND_EVERY, max(source.spec.lease / 3, _CHECK_EVERY))
            return []
        return await self.ask_suspect(seconds=0)

    async def ask_suspect(self, *, seconds: int) -> list[Arrived]:
        """At most one message of the queue of suspects."""
        self._next_check = self._clock.monotonic() + _CHECK_EVERY
        return await self._ask(1, seconds, self._source.suspects_url)

    async def _ask(self, count: int, seconds: int, url: str | None = None) -> list[Arrived]:
        """One request; early messages are postponed."""
        source = self._source
        url = url or source.url
        lease = min(max(whole(source.spec.lease), 1), LONGEST_HIDDEN)
        answer = await self._clients.call(
            "receive_message",
            source.spec.name,
            wait=seconds,
            QueueUrl=url,
            MaxNumberOfMessages=count,
            WaitTimeSeconds=seconds,
            VisibilityTimeout=lease,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=_SYSTEM_ATTRIBUTES,
        )
        arrived: list[Arrived] = []
        early: list[tuple[Held, float]] = []
        damaged = 0
        for raw in answer.get("Messages") or ():
            if self._is_damaged(raw):
                damaged += 1  # is redelivered when its lease ends; the others need not wait for that
                continue
            held, body, left = self._opened(raw, lease, url)
            if left > 0:
                early.append((held, left))
            else:
                arrived.append((held, body))
        if early:
            with contextlib.suppress(DriverError):  # then they come again, still too early, when their lease ends
                await self._settling.postpone(source, early)
        if damaged and not arrived:
            problem = f"a message arrived damaged at driver {self._driver!r}: its MD5 is another"
            raise BrokerUnavailableError(problem, driver=self._driver, queue=source.spec.name)
        return arrived

    def _opened(self, raw: dict[str, Any], lease: int, url: str) -> tuple[Held, bytes, float]:
        """A delivery, its body, and the seconds until it is due."""
        attributes = raw.get("MessageAttributes") or {}
        envelope, body = read(raw["MessageId"], raw["Body"], attributes)
        system = raw.get("Attributes") or {}
        sent_at = float(system.get("SentTimestamp", 0)) / 1000
        number = delivery_number(
            int(system.get("ApproximateReceiveCount", 1)),
            sent_at=sent_at,
            first_at=float(system.get("ApproximateFirstReceiveTimestamp", "inf")) / 1000,
            delay=envelope.delay or 0.0,
        )
        now = self._clock.boottime()
        source = self._source
        group = system.get("MessageGroupId")
        is_started = url == source.suspects_url
        if is_started and source.is_fifo:
            group = own_group(envelope.id)
        # SQS's count counts where it is of recorded starts, or may be of failures.
        failures = number - 1 if is_started or is_bound_to(source.is_fifo, envelope.key, group) else 0
        held = Held(
            url,
            raw["ReceiptHandle"],
            raw["MessageId"],
            raw["Body"],
            attributes,
            envelope,
            group,
            envelope.attempts + failures + 1,
            now,
            now + lease,
            is_suspect=envelope.suspect or number > 1,
        )
        return held, body, sent_at + envelope.delay - self._clients.time() if envelope.delay else 0.0

    def _is_damaged(self, raw: dict[str, Any]) -> bool:
        return self._checks_digests and raw.get("MD5OfBody") not in (None, digest(raw["Body"]))


_TRIES = 5
"""Requests, of a second each, in which a message that was moved must arrive; else another process has it."""


class Suspects:
    """Starts the suspects of one queue: each is handled in a queue beside it.

    SQS counts receives, and nothing can be written beside a message. So a suspect is moved, at its start, to a queue
    from which a process takes one message at a time, and only to start it: there SQS's own count is the number of
    recorded starts. The queue is made at the first start; every process looks for it from time to time. A message with
    a key stays where it is, for its group must not go on without it: there every delivery counts.
    """

    def __init__(
        self,
        source: Source,
        polling: Polling,
        declaring: Declaring,
        settling: Settling,
        publishing: Publishing,
        clock: Clock,
    ) -> None:
        self._source = source
        self._polling = polling
        self._declaring = declaring
        self._settling = settling
        self._publishing = publishing
        self._clock = clock

    async def start(self, batch: Sequence[Receipt]) -> list[Receipt]:
        """Record the starts; the receipts that are stale, or whose message is redelivered with its record."""
        return [receipt for receipt in batch if not await self._start(receipt)]

    async def _start(self, receipt: Receipt) -> bool:
        source = self._source
        held = source.find(receipt, self._clock.boottime())
        if held is None or held.is_settled:
            return False
        if held.url == source.suspects_url or is_bound(source, held):
            return True
        held.is_moving = True  # its handle is about to change: the keeper must not take it for lost
        try:
            return await self._move(held)
        finally:
            held.is_moving = False

    async def _move(self, held: Held) -> bool:
        """Send it there, delete the original, and take it again; False: another suspect is in our hands now."""
        source = self._source
        if source.suspects_url is None:
            source.suspects_url = await self._declaring.create_suspects(source.spec, source.url)
        target = Source(source.spec, source.suspects_url, is_fifo=False, largest=source.largest)
        written = copy(held.body, held.attributes, held.envelope.again(attempts=held.attempt - 1, suspect=True))
        if not held.is_copied:  # else what came after that has failed before
            results: list[Result] = [None]
            await self._publishing.send(target, [Entry(0, written, {})], results)
            if results[0] is not None:
                raise results[0]
            held.is_copied = True
        fates: dict[Held, Fate] = {}
        await self._settling.delete(source, [held], fates)
        if isinstance(fate := fates[held], DriverError):
            raise fate
        if source.holds_started(self._clock.boottime()):
            source.take(held, self._clock.boottime())
            return False
        return await self._take(held)

    async def _take(self, held: Held) -> bool:
        source = self._source
        for _ in range(_TRIES):
            arrived = await self._polling.ask_suspect(seconds=1)
            if not arrived:
                continue
            found, _ = arrived[0]
            if found.envelope.id == held.envelope.id:
                source.replace(held, found)
                return True
            self._polling.keep(arrived)
            break
        source.take(held, self._clock.boottime())
        return False
