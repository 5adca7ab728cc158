"""Handlers whose rows commit together with the ack of their messages, and with the end of their member of a group.

The commit does not ack such a message: it stays held until its end is recorded, and a row of the same commit, as for
an idempotency key, says that its work is done. So a kill in between loses nothing of what follows the message, and the
work is not done again (docs/adr/0053).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from tasuki.backoff import UNTIL_BACK
from tasuki.consumers.delivery import Delivery, run_in_loop
from tasuki.consumers.handling.idempotency import AlreadyDone, Claim, decoded, encoded
from tasuki.consumers.settling.verdict import ACK, RELEASE, Answer, Verdict
from tasuki.contracts.codec import Codec
from tasuki.contracts.driver import Ack, Driver, Receipt, Received, Settlement
from tasuki.contracts.handler import Snooze
from tasuki.errors import ConflictError, DriverError, HandlerError, StaleReceiptError, UnsupportedError
from tasuki.flow.group_records import membership_of
from tasuki.message import GROUP, is_member

if TYPE_CHECKING:
    from tasuki.consumers.definition import Definition
    from tasuki.consumers.jobs.timeouts import OffClock
    from tasuki.consumers.settling.settler import Settler


_TTL = 7 * 86400.0
"""Seconds for which the row is kept: the longest that a killed worker's message may wait for another one."""

_LEFT_OUT = b"\0tasuki: rolled back\0"
"""In the row of a message that its handler settled otherwise: its work is still to be done."""


class Committed:
    """The members among the messages of one transaction; ``key``: of the only message, whose row says it as well."""

    def __init__(self, driver: Driver, consumer: str, deliveries: Sequence[Delivery], key: Claim | None) -> None:
        self._driver = driver
        self._claims: dict[Claim, list[Delivery]] = {}
        for each in deliveries:
            if is_member(each.received):  # one may be stored twice, after a publish whose answer was lost
                claim = key or Claim(consumer, _key_of(each.received), _TTL)
                self._claims.setdefault(claim, []).append(each)
        self._members = {each for members in self._claims.values() for each in members}
        self._overwritten: set[Claim] = set()

    def __bool__(self) -> bool:
        return bool(self._members)

    def __contains__(self, delivery: Delivery) -> bool:
        return delivery in self._members

    async def begin(self, connection: Any, codec: Codec, *, is_batch: bool) -> None:
        """Claim their rows.

        Raises:
            AlreadyDone: the work is done. Where a handler gets batches (``is_batch``), also in a transaction of one of
                the messages, those messages are settled, and Snooze brings the others again.
        """
        done: dict[Delivery, Any] = {}
        for claim, members in self._claims.items():
            found = await self._driver.claim_within(connection, claim.consumer, claim.key, claim.ttl)
            if found == _LEFT_OUT:
                self._overwritten.add(claim)
            elif found is not None:
                done |= dict.fromkeys(members, decoded(codec, found))
        if done and not is_batch:
            raise AlreadyDone(next(iter(done.values())))
        for each, result in done.items():
            _conclude(each, result)
        if done:
            raise Snooze(0, "other messages of the batch were done already")

    async def end(self, connection: Any, left_out: Container[Delivery], result: bytes) -> None:
        """Write what the rows are to say: that the work is done, with this result if it is of one message."""
        for claim, members in self._claims.items():
            if all(each in left_out for each in members):
                await self._driver.remember_within(connection, claim.consumer, claim.key, _LEFT_OUT)
            elif result or claim in self._overwritten:
                value = result if len(self._claims) == 1 else b""
                await self._driver.remember_within(connection, claim.consumer, claim.key, value)


def _key_of(received: Received) -> str:
    """Of one member of one publish: two members may have one id, and a group that is begun again the same ones."""
    membership = membership_of(received.headers[GROUP])
    return received.id if membership is None else f"{membership.token} {membership.number} {received.id}"


def _conclude(delivery: Delivery, result: Any) -> None:
    def conclude() -> None:
        delivery.conclude(Verdict("ack", answer=Answer(result)))

    run_in_loop(delivery.holder, conclude)


_log = logging.getLogger("tasuki.consumer")


_POSTPONED = 1.0
"""Seconds after which a message is redelivered whose transaction could not begin."""


class Followed(Protocol):
    """The settling of a run."""

    loop: asyncio.AbstractEventLoop
    thread: int
    settler: Settler


class _RolledBackError(Exception):
    """Ends the block of the driver: all messages of the transaction are settled otherwise."""


class _Open:
    """See ``OpenTransaction`` and ``OwnTransaction``."""

    def __init__(self, deliveries: Sequence[Delivery], codec: Codec, members: Committed) -> None:
        self._codec = codec
        self._connection: Any = None
        self.is_over = False
        self.deliveries, self.members = deliveries, members
        self.verdicts: dict[Delivery, Verdict] = {}
        self.result = b""

    @property
    def connection(self) -> Any:
        if self.is_over:  # another transaction may have it by now
            raise _invalid("the transaction is over: use its connection and publish within its block")
        return self._connection

    @connection.setter
    def connection(self, connection: Any) -> None:
        self._connection = connection

    def remember(self, result: object) -> None:
        self.result = encoded(self._codec, result)

    def settle(self, delivery: Delivery, verdict: Verdict) -> None:
        if verdict is ACK:
            raise _invalid("the end of the transaction's block acks the message: remove this ack")
        if delivery in self.verdicts:
            raise _invalid("already settled")
        self.verdicts[delivery] = verdict

    @property
    def acked(self) -> list[Delivery]:
        """The messages that the commit acks."""
        return [each for each in self.deliveries if each not in self.verdicts]


class Transacting:
    """Transactions of one run; a run whose handlers open none pays nothing."""

    def __init__(self, run: Followed, consumer: Definition, off_clock: OffClock) -> None:
        self._run = run
        self._consumer = consumer
        self._off_clock = off_clock
        self._committed: set[Receipt] = set()
        """The broker has settled them already; their acks are only reported."""
        self._is_following = False
        self.claims: dict[Delivery, Claim] = {}
        """The keys of running deliveries, if the consumer has ``idempotency``."""

    def open(self, delivery: Delivery, connection: Any, *, sync: bool) -> AbstractAsyncContextManager[_Open]:
        """See :meth:`tasuki.contracts.handler.Context.transaction`."""
        self._check(delivery)
        return self._opened(delivery, connection, sync=sync)

    def _check(self, delivery: Delivery) -> None:
        consumer, driver = self._consumer, self._consumer.queue.driver
        if consumer.options.auto_ack:
            raise _invalid(f"consumer {consumer.id!r} has auto_ack, so its messages are acked before their transaction")
        if delivery.in_transaction:
            raise _in_one()
        if all(each.settled for each in delivery.deliveries):
            raise _settled()
        if not driver.capabilities.has("settle_within"):
            raise UnsupportedError(
                f"queue {consumer.queue.id!r} is on driver {driver.name!r}, which settles in no transaction of a "
                "handler: put the queue on PostgreSQL or SQLite, or give its consumer an idempotency",
                driver=driver.name,
                queue=consumer.queue.id,
            )

    @asynccontextmanager
    async def _opened(self, delivery: Delivery, connection: Any, *, sync: bool) -> AsyncIterator[_Open]:
        opened = self._open(delivery)
        queue, began_at = self._consumer.queue, float("inf")
        block = _Block(queue.driver.transaction(connection, sync=sync), None if sync else self._off_clock)
        with _owned(delivery, opened):
            try:
                async with block as opened.connection:
                    began_at = self._consumer.clock.monotonic()
                    with _postponed("its transaction cannot begin: "):
                        await self._hold(opened)
                    claim = await self._claimed(delivery, opened)
                    yield opened
                    if not opened.acked:
                        raise _RolledBackError
                    await self._settle(opened, claim)
            except _RolledBackError:
                pass
            except StaleReceiptError:
                run_in_loop(delivery.holder, lambda: _let_go(opened))
                raise
            except BaseException as error:
                if opened.verdicts:
                    run_in_loop(delivery.holder, lambda: _conclude_settled(opened))
                if block.is_sent and isinstance(error, DriverError) and error.outcome == "unknown":
                    await self._find_out(delivery, opened, sync=sync)
                    if opened.members and not all(each.lost for each in opened.acked):
                        raise Snooze(
                            _POSTPONED, f"whether its transaction is committed is not known: {error}"
                        ) from error
                raise
            else:
                self._warn_if_long(delivery, self._consumer.clock.monotonic() - began_at)
            finally:
                opened.is_over = True
            run_in_loop(delivery.holder, lambda: self._conclude(opened))

    def _open(self, delivery: Delivery) -> _Open:
        consumer, queue = self._consumer, self._consumer.queue
        deliveries = [each for each in delivery.deliveries if not each.settled]
        members = Committed(queue.driver, f"{queue.spec.name}/{consumer.id}", deliveries, self.claims.get(delivery))
        return _Open(deliveries, queue.codec, members)

    async def _hold(self, opened: _Open) -> None:
        queue = self._consumer.queue
        receipts = [each.received.receipt for each in opened.deliveries]
        await queue.driver.hold_within(opened.connection, queue.spec.name, receipts, settles=not opened.members)

    async def _find_out(self, delivery: Delivery, opened: _Open, *, sync: bool) -> None:
        """After a commit whose answer is lost: forget messages that are not ours any more, before a failure counts."""
        looking = self._drop_lost(opened)
        if sync:
            asyncio.run_coroutine_threadsafe(looking, delivery.holder.loop).result()
        else:
            await looking

    async def _drop_lost(self, opened: _Open) -> None:
        """Ask until the broker answers; when the leases have ended, the messages are not surely ours any more."""
        queue, clock = self._consumer.queue, self._consumer.clock
        left = [each for each in opened.acked if not each.settled]
        failures = 0
        try:
            while any(clock.monotonic() < each.lease_until for each in left):
                try:
                    receipts = [each.received.receipt for each in left]
                    stale = set(await queue.driver.extend(queue.spec.name, receipts, queue.spec.lease))
                except DriverError:
                    failures += 1
                    await asyncio.sleep(UNTIL_BACK.delay(failures))
                else:
                    left = [each for each in left if each.received.receipt in stale]
                    return
        finally:
            for each in left:
                each.drop()

    async def _claimed(self, delivery: Delivery, opened: _Open) -> Claim | None:
        claim, queue = self.claims.get(delivery), self._consumer.queue
        driver = queue.driver
        with _postponed():  # also where the database undoes one of two that wait for each other
            if claim is None:
                is_batch = self._consumer.options.batch is not None
                await opened.members.begin(opened.connection, queue.codec, is_batch=is_batch)
                return None
            found = await driver.claim_within(opened.connection, claim.consumer, claim.key, claim.ttl)
        if found is not None:
            raise AlreadyDone(decoded(queue.codec, found))
        return claim

    async def _settle(self, opened: _Open, claim: Claim | None) -> None:
        """The last statements before the commit: a renewal of the leases sees the deliveries locked from here on."""
        queue = self._consumer.queue
        if claim is not None and opened.result:
            await queue.driver.remember_within(opened.connection, claim.consumer, claim.key, opened.result)
        if claim is None:
            await opened.members.end(opened.connection, opened.verdicts, opened.result)
        acks = [Ack(each.received.receipt) for each in opened.acked if each not in opened.members]
        await queue.driver.settle_within(opened.connection, queue.spec.name, acks)

    def _conclude(self, opened: _Open) -> None:
        self._follow()
        for each in opened.deliveries:
            if each in opened.verdicts:
                each.conclude(opened.verdicts[each])
            elif each in opened.members:
                each.conclude_early()
            else:
                self._committed.add(each.received.receipt)
                each.conclude(ACK)

    def _follow(self) -> None:
        """From the first commit on, let the settler leave out committed acks."""
        if self._is_following:
            return
        self._is_following = True
        settler = self._run.settler
        flush: Callable[[list[Settlement]], Awaitable[None]] = settler.flush

        async def flush_rest(batch: list[Settlement]) -> None:
            done = [each for each in batch if each.receipt in self._committed]
            if done:
                self._committed.difference_update(each.receipt for each in done)
                batch = [each for each in batch if each not in done]
                settler.on_settled(done, ())
            if batch:
                await flush(batch)

        settler.flush = flush_rest

    def _warn_if_long(self, delivery: Delivery, seconds: float) -> None:
        most = self._consumer.queue.driver.one_writer
        if most is not None and seconds > most:
            _log.warning("the transaction of the handler has kept all others from writing for %.0f ms: collect first, "
                         "open it to write", seconds * 1000, extra=delivery.log_fields())  # fmt: skip


@contextmanager
def _postponed(what: str = "") -> Iterator[None]:
    """Postpone the message after an error that may heal: nothing of it was done."""
    try:
        yield
    except DriverError as error:
        if error.retryable or isinstance(error, ConflictError):
            raise Snooze(_POSTPONED, f"{what}{error}") from error
        raise


class _Block:
    """The block of the driver; the message is postponed if it cannot be entered now: nothing of it was done.

    A commit that was sent is awaited to its end, also by a handler that is cancelled meanwhile: its work is done. Its
    time does not count for the handler, whose timeout must interrupt what follows it. ``off_clock``: None in a thread,
    which nothing cancels.
    """

    def __init__(self, block: AbstractAsyncContextManager[Any], off_clock: OffClock | None) -> None:
        self._block = block
        self._off_clock = off_clock
        self.is_sent = False

    async def __aenter__(self) -> Any:
        with _postponed("its transaction cannot begin: "):
            return await self._block.__aenter__()

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is not None:  # which ends the block, even if the client hides it: nothing is committed
            await self._block.__aexit__(kind, error, traceback)
            return
        self.is_sent = True
        end = self._block.__aexit__(None, None, None)
        if self._off_clock is None:
            await end
            return
        with self._off_clock():
            ending = asyncio.ensure_future(end)
            while not ending.done():
                try:
                    await asyncio.shield(ending)
                except asyncio.CancelledError:
                    if ending.cancelled():
                        raise
        ending.result()


class _owned:  # noqa: N801 - a context manager
    """The deliveries have this transaction, and settle with it, until it is over."""

    def __init__(self, delivery: Delivery, opened: _Open) -> None:
        self._all = {*opened.deliveries, delivery}
        self._opened = opened

    def __enter__(self) -> None:
        # Since the check another one of the message may have begun, or ended.
        if any(each.in_transaction for each in self._all):
            raise _in_one()
        if any(each.settled and not each.lost for each in self._opened.deliveries):
            raise _settled()
        for each in self._all:
            each.own_transaction = self._opened

    def __exit__(self, *_: object) -> None:
        for each in self._all:
            del each.own_transaction


def _let_go(opened: _Open) -> None:
    """After a stale receipt. Of a batch the others are released, or would wait for the end of their leases."""
    _conclude_settled(opened)
    for each in opened.acked:
        if len(opened.deliveries) == 1:
            each.drop()
        else:
            each.conclude(RELEASE)


def _conclude_settled(opened: _Open) -> None:
    for each, verdict in opened.verdicts.items():
        each.conclude(verdict)


def _settled() -> HandlerError:
    return _invalid("the message is settled already: open its transaction before")


def _in_one() -> HandlerError:
    return _invalid("the message has a transaction open: use that one, its end settles the message")


def _invalid(problem: str) -> HandlerError:
    return HandlerError(problem, kind="Invalid", retryable=False)
