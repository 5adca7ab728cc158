"""Settler: carries out verdicts at the broker, in batches, with its own deadline and never cancelled with a handler.

Each flush starts when the previous one has returned, so batches form under load, and a lone settlement goes at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence, Set
from functools import partial
from typing import TYPE_CHECKING, Any

from tasuki.backoff import UNTIL_BACK
from tasuki.consumers.delivery import Delivery
from tasuki.consumers.settling.attempts import attempts_for
from tasuki.consumers.settling.handover import Handover, Moves
from tasuki.consumers.settling.insisting import Insisting, OnKept, Write
from tasuki.consumers.settling.letters import LetterDraft
from tasuki.consumers.settling.replies import ReplySender, failure
from tasuki.consumers.settling.verdict import ACK, LATER, ReplyContent, Verdict
from tasuki.contracts.driver import (
    NACK_ERROR_CHARS,
    Ack,
    Driver,
    Nack,
    Receipt,
    Release,
    Settlement,
)
from tasuki.errors import DriverError, MessageTooLargeError, StaleReceiptError
from tasuki.message import LEFT_OUT, is_member, is_request
from tasuki.observe.events import DEAD_LETTERED
from tasuki.observe.trace import CURRENT

if TYPE_CHECKING:
    from tasuki.consumers.definition import Definition
    from tasuki.queues.dead.attempts import AttemptRecord
    from tasuki.queues.queue import Queue
    from tasuki.tracing.tracing import Flush


_log = logging.getLogger("tasuki.consumer")


_EVERY = 10.0
"""Seconds between two warnings that the broker does not settle yet."""


class Complaints:
    """The complaints of one run of a consumer."""

    def __init__(self, consumer: Definition) -> None:
        self._clock, self._metrics, self._queue = consumer.clock, consumer.metrics, consumer.queue.id
        self._extra = {"consumer": consumer.id, "queue": self._queue}
        self._last = float("-inf")

    def stale(self, batch: Sequence[Settlement], stale: Set[Receipt]) -> None:
        """Count and report settlements that came after their leases were lost."""
        self._metrics.stale += len(stale)
        # A released message was not handled here: another process handles it, once.
        late = sum(each.receipt in stale and not isinstance(each, Release) for each in batch)
        if late:
            _log.warning("%d settled too late: the lease was lost, so the message may be handled twice", late,
                         extra=self._extra)  # fmt: skip

    def given_up(self, batch: Sequence[Settlement], error: Exception) -> None:
        """Report settlements that are not tried any more."""
        _log.error("cannot settle %d deliveries; the broker redelivers them when their leases end: %s", len(batch),
                   error, extra=self._extra)  # fmt: skip

    def not_yet(self, error: Exception) -> None:
        """Report settlements that are tried again, every ten seconds at most."""
        now = self._clock.monotonic()
        if now - self._last >= _EVERY:
            self._last = now
            _log.warning("cannot settle yet: %s", error, extra=self._extra)

    def kept(self, delivery: Delivery, verdict: Verdict) -> None:
        """Report a message that must never be redelivered, and that no dead-letter queue takes."""
        _log.error("%s: %s; kept for another %g s because queue %s has no dead_letter", verdict.reason, verdict.error,
                   verdict.delay, self._queue, extra=delivery.log_fields())  # fmt: skip


class Settler:
    """Ends the deliveries of one consumer.

    ``on_settled`` gets the settlements of deliveries that are no longer held, and which receipts were stale;
    ``on_kept``: see :class:`tasuki.consumers.settling.insisting.Insisting`.
    """

    def __init__(
        self,
        consumer: Definition,
        *,
        on_settled: Callable[[list[Settlement], Collection[Receipt]], None],
        on_kept: OnKept,
    ) -> None:
        self._consumer = consumer.id
        self._queue = queue = consumer.queue
        self._driver: Driver = queue.driver
        self._dead_letters = consumer.dead_letters
        self._metrics, self._events, self._clock = consumer.metrics, consumer.events, consumer.clock
        self.on_settled = on_settled
        self._on_kept, self.attempts = on_kept, attempts_for(consumer)
        self.insisting = Insisting(consumer.clock, on_kept)
        self.giving_up = 0
        """Deliveries about which the user's ``on_give_up`` runs."""
        self._replies = ReplySender(queue, consumer.metrics)
        self._handing_over = Moves(queue)
        self._buffer: list[Settlement] = []
        self._moves: set[asyncio.Task[None]] = set()
        self._owed: set[Receipt] = set()
        """Deliveries that their handlers have acked, and whose acks are sent after the records of their ends."""
        self._awaited: dict[Receipt, asyncio.Future[bool]] = {}
        self._wake: asyncio.Future[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self._complaints = Complaints(consumer)
        self.flush: Flush = self._flush

    def settle(self, delivery: Delivery, verdict: Verdict) -> None:
        """Carry out a verdict soon; never raises, never waits."""
        if verdict is ACK:  # the common case
            self._metrics.acked += 1
            self._add(Ack(delivery.received.receipt))
            return
        receipt, action = delivery.received.receipt, verdict.action
        if verdict is LATER:
            self._owed.add(receipt)
        elif action == "ack" and verdict.answer is None:
            self._metrics.ack(verdict.reason)
            self._add(Ack(receipt))
        elif action == "nack":
            self._metrics.nacked += 1
            self.attempts.failed(delivery, verdict)
            if verdict.kept:
                self._complaints.kept(delivery, verdict)
            self._add(Nack(receipt, verdict.delay, verdict.error[:NACK_ERROR_CHARS]))
        elif action == "release":
            self._metrics.release(verdict.delay)
            self._add(Release(receipt, verdict.delay))
        elif verdict.answer is not None:
            self.begin(self._reply(delivery, verdict.answer, verdict.reason), "reply")
        else:
            self.begin(self._move(delivery, verdict, self.attempts.failed(delivery, verdict)), "dead-letter")

    async def settle_after(self, work: Callable[[], Awaitable[None]], delivery: Delivery, verdict: Verdict) -> None:
        """Run ``work``, retrying until it succeeds or fails finally, then settle with ``verdict``."""
        if await self._insist(delivery, Write(work, "settled, as its result cannot be kept")):
            self.settle(delivery, verdict)

    def owes(self, delivery: Delivery) -> bool:
        """Whether its handler has acked it, and the ack waits for the end of the handler."""
        return delivery.received.receipt in self._owed

    def answer(self, delivery: Delivery, answer: ReplyContent | None) -> None:
        """Answer a message that is settled already, and send its ack if that is owed; a failed reply is only logged.

        None: its handler was cut off. If its ack is owed, the message is released, and is redelivered.
        """
        is_owed = self.owes(delivery)
        self._owed.discard(delivery.received.receipt)
        if answer is not None:
            self.begin(self._answer_late(delivery, answer, is_owed=is_owed), "late reply")
        elif is_owed:
            self._release(delivery)

    async def late(self, delivery: Delivery, write: Write) -> None:
        """Write something that is owed for a message that is settled already."""
        if await self.insisting.until_done(delivery, write) != "done":
            self._metrics.result_errors += 1

    async def _answer_late(self, delivery: Delivery, answer: ReplyContent, *, is_owed: bool) -> None:
        if is_owed:
            if not await self._end_member(delivery, answer):
                return
        elif is_member(delivery.received):
            end = partial(self._replies.end_member, delivery, answer)
            await self.late(delivery, Write(end, "ended as a member of its group", is_late=True))
        if is_request(delivery.received):
            await self._try_to_reply(delivery, answer)
        if is_owed:
            self._metrics.acked += 1
            self._add(Ack(delivery.received.receipt))

    def begin(self, move: Coroutine[Any, Any, None], name: str) -> None:
        """Do it beside all else; a stop waits for it."""
        task = asyncio.get_running_loop().create_task(move, name=name)
        self._moves.add(task)
        task.add_done_callback(self._moves.discard)

    async def ack(self, delivery: Delivery) -> bool:
        """Ack, and wait until the broker has answered; False: it was stale or could not be settled."""
        taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._awaited[delivery.received.receipt] = taken
        self.settle(delivery, ACK)
        return await taken

    def _add(self, settlement: Settlement) -> None:
        self._buffer.append(settlement)
        if self._wake is not None:
            if not self._wake.done():
                self._wake.set_result(None)
            self._wake = None
            self._empty.clear()

    async def run(self) -> None:
        """Flush until cancelled."""
        try:
            while True:
                while not self._buffer:
                    self._empty.set()
                    self._wake = asyncio.get_running_loop().create_future()
                    await self._wake
                batch, self._buffer = self._buffer, []
                size = self._driver.capabilities.max_batch
                for start in range(0, len(batch), size):
                    await self.flush(batch[start : start + size])
        finally:
            self._wake = None  # a settlement after the end wakes no task

    async def _flush(self, batch: list[Settlement]) -> None:
        """Settle one batch; while the broker is unavailable, retry until the leases must have ended.

        A broker without leases would hold the messages forever, so retry for as long as the consumer lives.
        """
        has_leases = self._driver.capabilities.has("leases")
        deadline = self._clock.monotonic() + self._queue.spec.lease if has_leases else float("inf")
        failures = 0
        while True:
            try:
                stale = await self._driver.settle(self._queue.spec.name, batch)
            except Exception as error:  # not only DriverError: a driver's defect must not end the settling
                failures += 1
                is_final = isinstance(error, DriverError) and not error.retryable
                if is_final or self._clock.monotonic() >= deadline:
                    self._complaints.given_up(batch, error)
                    untaken = {settlement.receipt for settlement in batch}
                    break
                self._events.add_error(f"cannot settle yet: {error}")
                self._complaints.not_yet(error)
                await asyncio.sleep(UNTIL_BACK.delay(failures))
            else:
                untaken = set(stale)
                if stale:
                    self._complaints.stale(batch, untaken)
                break
        if self._awaited:
            self._tell_waiting(batch, untaken)
        self.on_settled(batch, untaken)

    def _tell_waiting(self, batch: list[Settlement], untaken: set[Receipt]) -> None:
        for settlement in batch:
            waiting = self._awaited.pop(settlement.receipt, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(settlement.receipt not in untaken)

    async def _reply(self, delivery: Delivery, answer: ReplyContent, reason: str) -> None:
        """Reply, and ack the request with it or after it; ``reason``: of the verdict."""
        if not await self._end_member(delivery, answer):
            return
        handover = Handover(self._handing_over, delivery.received.receipt)
        send = partial(self._replies.send, delivery, answer, handover)
        if not is_request(delivery.received) or await self._insist(delivery, Write(send, "replied to")):
            self._metrics.ack(reason)
            self._end(delivery, handover)

    async def _end_member(self, delivery: Delivery, answer: ReplyContent) -> bool:
        """Record the end of a message of a group; False: the message is not ours to settle any more."""
        if not is_member(delivery.received):
            return True
        end = partial(self._replies.end_member, delivery, answer)
        return await self._insist(delivery, Write(end, "ended as a member of its group"))

    def _end(self, delivery: Delivery, handover: Handover) -> None:
        ack = Ack(delivery.received.receipt)
        if handover.is_acked:
            self.on_settled([ack], ())
        else:
            self._add(ack)

    async def _insist(self, delivery: Delivery, write: Write) -> bool:
        """Write what must be confirmed before the ack; the delivery stays held.

        False: the consumer stops or the lease is lost; the message is released, or another process has it.
        """
        end = await self.insisting.until_done(delivery, write)
        if end in ("done", "decided"):
            return True
        if end == "stale":
            stale = {delivery.received.receipt}
            late: list[Settlement] = [Ack(delivery.received.receipt)]
            self._complaints.stale(late, stale)
            self.on_settled(late, stale)
            return False
        self._release(delivery)
        return False

    def _release(self, delivery: Delivery) -> None:
        self._metrics.released += 1
        self._add(Release(delivery.received.receipt))

    async def _try_to_reply(self, delivery: Delivery, answer: ReplyContent) -> bool:
        """Reply once; False: the consumer stops meanwhile."""
        CURRENT.set(delivery.trace)
        try:
            await self._replies.send(delivery, answer)
        except (Exception, asyncio.CancelledError) as error:
            self._metrics.result_errors += 1
            _log.error("cannot be replied to: %r", error, extra=delivery.log_fields())
            return not isinstance(error, asyncio.CancelledError)
        return True

    async def _move(self, delivery: Delivery, verdict: Verdict, last: AttemptRecord | None) -> None:
        """Publish to the dead-letter queue, and ack the original with it or after it; tell a requester before."""
        received, dead_letters = delivery.received, self._dead_letters
        assert dead_letters is not None
        if verdict.reason != "unsigned":  # no reply to a forged message
            if not await self._end_member(delivery, failure(verdict)):
                return
            if is_request(received) and not await self._try_to_reply(delivery, failure(verdict)):
                self._release(delivery)
                return
        give_up = delivery.holder.give_up
        handover = Handover(self._handing_over, received.receipt)
        records = [] if last is None else [*await self.attempts.before(delivery), last]
        letter: LetterDraft | None = None

        async def publish() -> None:
            nonlocal give_up, letter
            if give_up is not None:
                await self._while_kept(delivery, give_up(delivery, verdict))
                give_up = None
            letter = letter or LetterDraft(received, verdict, self._queue, self._consumer, records)
            await self._publish_letter(letter, dead_letters, handover, delivery)

        if not await self._insist(delivery, Write(publish, "dead-lettered", must=True)):
            return
        self._metrics.bury(verdict.reason)
        self._events.add(DEAD_LETTERED, received.id, received.attempt, dead_letters.id)
        say = "dead-lettered to %s after attempt %d (%s): %s"
        told = (dead_letters.id, received.attempt, verdict.reason, verdict.error)
        _log.error(say, *told, extra=delivery.log_fields())
        self._end(delivery, handover)

    async def _publish_letter(self, letter: LetterDraft, to: Queue, handover: Handover, delivery: Delivery) -> None:
        """Publish a dead letter, or as much of it as its queue takes. Raises the error of its queue."""
        carry, had = handover.to(to), len(letter.left_out)
        while True:
            made = letter.made(self._clock.time())
            error = (await to.forward((made,), carry=carry, after=(delivery.trace,)))[0]
            if not isinstance(error, MessageTooLargeError) or not letter.shrink():
                break
        if error is not None:
            raise error
        if len(letter.left_out) > had:
            _log.warning("the dead letter is too large for %s; it leaves out: %s", to.id, made.headers[LEFT_OUT],
                         extra=delivery.log_fields())  # fmt: skip

    async def _while_kept(self, delivery: Delivery, work: Awaitable[None]) -> None:
        """Await the user's work about a delivery, which does not count as waiting for the broker meanwhile.

        Raises:
            StaleReceiptError: the lease was lost in that time.
        """
        self._on_kept(delivery, "kept")
        self.giving_up += 1
        try:
            await work
        finally:
            self.giving_up -= 1
            self._on_kept(delivery, "ended")
        if delivery.lost:
            raise StaleReceiptError("the lease was lost", driver=self._driver.name, queue=self._queue.id)

    async def finish(self, timeout: float) -> bool:
        """Wait until everything given so far is settled; False if that took longer than ``timeout`` seconds.

        A dead letter or reply that its queue has not taken after half of that is kept where it came from.
        """
        try:
            async with asyncio.timeout(timeout):
                if self._moves:
                    await asyncio.wait(set(self._moves), timeout=timeout / 2)
                while self._moves:
                    for move in self._moves:
                        move.cancel()
                    await asyncio.wait(set(self._moves))
                if self._buffer:
                    self._empty.clear()
                await self._empty.wait()
                if self._moves:  # begun by the last settlements
                    await asyncio.wait(set(self._moves))
        except TimeoutError:
            return False
        return True
