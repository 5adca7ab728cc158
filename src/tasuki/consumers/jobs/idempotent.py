"""Once: middleware that skips a message whose idempotency key is done or in progress."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from tasuki.backoff import pause_after
from tasuki.consumers.delivery import Delivery
from tasuki.consumers.handling.idempotency import (
    AlreadyDone,
    Claim,
    Idempotency,
    OnceRecord,
    consumer_of,
    decode,
    decoded,
    encode,
    encoded,
)
from tasuki.consumers.surroundings import Handle, Middleware
from tasuki.contracts.driver import Received
from tasuki.contracts.handler import Context, Snooze
from tasuki.contracts.state.store import Entry, Store
from tasuki.errors import ConflictError, DriverError, HandlerError, StoreLimitError, TasukiError, nature_of
from tasuki.message import MESSAGE_TYPE, new_id

if TYPE_CHECKING:
    from tasuki.clock import Clock
    from tasuki.consumers.definition import Definition
    from tasuki.consumers.jobs.timeouts import OffClock
    from tasuki.state.shared import SharedState


_log = logging.getLogger("tasuki.consumer")


POSTPONED = 1.0
"""Seconds after which a message is redelivered whose key another one has."""

_PATIENCE = 60.0
"""Seconds for which the record of an end is tried."""

_TRIES = 20
"""How often a record is read again that others, or renewals, write at the same moment."""

_SHORTEST = 5.0
"""Least seconds for which a claim lasts without a renewal."""

_FORGET = 1.0

_MARGIN = 600.0
"""Seconds for which a message that sleeps keeps its key beyond its sleep: it may have to wait for a worker."""

_LONGEST = 60.0
"""Most seconds after which a message asks again for a key that a sleeping one has."""


class Claims(Protocol):
    """The keys of running deliveries, for their transactions."""

    claims: dict[Delivery, Claim]


class Once(Middleware):
    """The layer of one run.

    The record of a key says ``running`` while its handler runs, and ends by itself without a renewal; then
    ``done``, with the result. Each write goes by the version of the last one.
    """

    def __init__(self, consumer: Definition, state: SharedState, transacting: Claims, off_clock: OffClock) -> None:
        super().__init__(self.layer)
        self._queue, self._consumer = consumer.queue.spec.name, consumer.id
        self._driver, self._keeper, self._off_clock = consumer.queue.driver, consumer.keeper, off_clock
        self._rules: Mapping[Any, Idempotency] = consumer.options.idempotency
        self._clock, self._codec = consumer.clock, consumer.queue.codec
        self._state = state
        self._transacting = transacting
        self._lasts = max(consumer.queue.spec.lease, _SHORTEST)
        self._recordings: set[asyncio.Task[None]] = set()

    async def layer(self, body: Any, context: Context, inner: Handle) -> Any:
        """Call the handler, or return what it has returned for the key."""
        facts: Any = context.delivery
        delivery: Delivery = facts
        received = delivery.received
        rule = self._rules.get(received.headers.get(MESSAGE_TYPE)) or self._rules.get(None)
        if rule is None:
            return await inner(body, context)
        name = consumer_of(self._queue, self._consumer, received.headers)
        claim = Claim(name, rule.key_of(body, received), rule.ttl)
        held = _Held(self._state, claim, received, self._lasts, self._clock)
        with self._off_clock():
            found = await self._begun(held, delivery)
        if found is not None:
            return decoded(self._codec, found.result)
        self._transacting.claims[delivery] = claim
        end_renewals, result, is_done = self._renewing(held), None, False
        try:
            result = await inner(body, context)
            is_done = result is not False and (not delivery.settled or delivery.was_acked) and not delivery.is_paused
        except AlreadyDone as done:
            result, is_done = done.result, True
        finally:
            self._transacting.claims.pop(delivery, None)
            end_renewals()
            if not is_done or delivery.is_paused:
                await self._let_go(held, delivery)
        if is_done:
            await self._done(held, delivery, result)
        return result

    async def _let_go(self, held: _Held, delivery: Delivery) -> None:
        with self._off_clock():
            if delivery.is_paused and not delivery.cancelled:
                await held.pause(delivery.own_steps.paused or 0.0)
            else:
                await held.free()

    def _renewing(self, held: _Held) -> Callable[[], None]:
        """Renew the claim until the result is called."""
        if self._state.driver.capabilities.multi_process:
            self._keeper.add_claim(held)

            def end() -> None:
                held.is_over = True
                self._keeper.remove_claim(held)

            return end
        renewing = asyncio.create_task(held.renew_repeatedly(), name="renew a key")

        def cancel() -> None:
            held.is_over = True
            renewing.cancel()

        return cancel

    async def _begun(self, held: _Held, delivery: Delivery) -> OnceRecord | None:
        """See ``_Held.begin``. While the key cannot be claimed the message is postponed: its handler has not run.

        Where a postponement counts as an attempt the message is held instead, until the key can be claimed.
        """
        failures, counts = 0, self._driver.counts_releases(self._queue, delivery.received.receipt)
        while True:
            try:
                return await held.begin()
            except Snooze:
                if not counts or delivery.lost:
                    raise
                pause = POSTPONED
            except DriverError as error:
                if nature_of(error) == "final":
                    raise
                await held.free()  # perhaps it was claimed, and the answer was lost
                if not counts or delivery.lost:
                    raise Snooze(POSTPONED, f"its idempotency key cannot be claimed: {error}") from error
                failures += 1
                pause = pause_after(error, failures)
            await asyncio.sleep(pause)

    async def _done(self, held: _Held, delivery: Delivery, result: Any) -> None:
        """Record that the work is done; a worker that stops meanwhile acks the message, as its handler has ended."""
        with self._off_clock() as worker:
            try:
                await self._record(held, delivery, result)
            except asyncio.CancelledError:
                if worker is None or worker.cause is None:
                    raise
                _log.warning("interrupted before the key of the message was recorded as done; its work is done all "
                             "the same", extra=delivery.log_fields())  # fmt: skip
                recording = asyncio.create_task(self._record(held, delivery, result), name="record a key")
                self._recordings.add(recording)
                recording.add_done_callback(self._recordings.discard)

    async def _record(self, held: _Held, delivery: Delivery, result: Any) -> None:
        """Record that the work is done, before its message is acked; what cannot be recorded is done all the same."""
        try:
            value = encoded(self._codec, result)
        except HandlerError as error:
            _log.warning("%s", error, extra=delivery.log_fields())
            value = b""
        until, failures = self._clock.monotonic() + _PATIENCE, 0
        while True:
            try:
                if not await held.end(value):
                    _log.warning("the key of the message was taken over, as its claim was not renewed in time: its "
                                 "work may be done twice", extra=delivery.log_fields())  # fmt: skip
            except Exception as error:
                if isinstance(error, StoreLimitError) and value:
                    _log.warning("the result is too large to be remembered for the idempotency key: %s", error,
                                 extra=delivery.log_fields())  # fmt: skip
                    value = b""
                    continue
                failures += 1
                if nature_of(error) != "final" and not delivery.lost and self._clock.monotonic() < until:
                    await asyncio.sleep(pause_after(error, failures))
                    continue
                _log.error("the key of the message cannot be recorded as done, so another message of it would do the "
                           "work again: %s", error, extra=delivery.log_fields())  # fmt: skip
            return


class _Held:
    """The record of one key, as one delivery writes it."""

    def __init__(self, state: SharedState, claim: Claim, received: Received, lasts: float, clock: Clock) -> None:
        self._state = state
        self._claim = claim
        self._message, self._attempt = received.id, received.attempt
        self._lasts = lasts
        self._now = clock.monotonic
        self.period = lasts / 3
        self.due_at = float("inf")
        self.is_over = False
        """Its end is being written, or another delivery has it: a renewal writes no more."""
        self._owner = new_id()
        self._version = 0

    async def begin(self) -> OnceRecord | None:
        """Claim the key; the record of its work, if that is done. Raises Snooze: it is in flight elsewhere."""
        running, version = self._running(), 0  # most keys are new
        store = await self._state.store()
        for tries in range(_TRIES):
            if tries > 1:  # another delivery has just written it
                await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311 - jitter
            with suppress(ConflictError):
                self._version = await store.put(self._claim.place, running, ttl=self._lasts, version=version)
                self.due_at = self._now() + self.period
                return None
            found = await store.get(self._claim.place)
            if found is not None and (ended := self._ended(found)) is not None:
                return ended
            version = 0 if found is None else found.version
        raise self._in_flight()

    def _ended(self, found: Entry) -> OnceRecord | None:
        """The record of work that is done; None: the key is free, or our own message's, which came again."""
        record = decode(found.value)
        if not record.is_done and not record.is_held_for(self._message, self._attempt):
            raise self._in_flight(record.paused_until - self._state.clock.time())
        return record if record.is_done else None

    def _running(self) -> bytes:
        return encode(OnceRecord(self._owner, self._message, attempt=self._attempt))

    def _in_flight(self, seconds: float = POSTPONED) -> Snooze:
        due = min(max(seconds, POSTPONED), _LONGEST)
        return Snooze(due, f"the work of key {self._claim.key!r} is being done elsewhere")

    async def pause(self, seconds: float) -> None:
        """Keep the key while the message sleeps or waits; if that fails, its claim ends by itself."""
        until = self._state.clock.time() + seconds
        paused = encode(OnceRecord(self._owner, self._message, attempt=self._attempt, paused_until=until))
        with suppress(TasukiError, TimeoutError):
            async with asyncio.timeout(_FORGET):
                await self._write(paused, seconds + _MARGIN)

    async def renew_repeatedly(self) -> None:
        """Renew until cancelled, in the loop of the handler: a store of this process is of use to no other one."""
        while True:
            await asyncio.sleep(self.period)
            await self.renew()

    async def renew(self) -> None:
        """See :class:`tasuki.consumers.fetching.keeper.Renewable`."""
        self.due_at = self._now() + self.period
        store = self._state.opened
        try:
            if store is not None and not self.is_over:
                await self._keep(store)
        except Exception as error:
            _log.debug("cannot renew the claim of a key: %r", error)

    async def _keep(self, store: Store) -> None:
        """Write the record again, unless its end or another delivery's was written meanwhile."""
        running = self._running()
        try:
            version = await store.put(self._claim.place, running, ttl=self._lasts, version=self._version)
        except ConflictError:
            found = await store.get(self._claim.place)
            if found is not None and decode(found.value) != decode(running):
                self.is_over = True
            if self.is_over:
                return
            version = 0 if found is None else found.version  # the claim may have ended, and is free
            version = await store.put(self._claim.place, running, ttl=self._lasts, version=version)
        self._version = version

    async def end(self, result: bytes) -> bool:
        """Record the end; False: another delivery has the key."""
        done = OnceRecord(self._owner, self._message, True, result)
        try:
            await self._write(encode(done), self._claim.ttl)
        except ConflictError:
            return False
        return True

    async def _write(self, value: bytes, ttl: float) -> None:
        """Write, unless another delivery has the key. Raises ConflictError: it has."""
        store, version = await self._state.store(), self._version
        for _ in range(_TRIES):
            with suppress(ConflictError):
                self._version = await store.put(self._claim.place, value, ttl=ttl, version=version)
                return
            version = await self._found(store)
        raise self._taken()

    async def _found(self, store: Store) -> int:
        """The version of a record that was written meanwhile: by a write of ours that was interrupted, or a renewal.

        0: the claim has ended, and is free. Raises ConflictError: another delivery has the key.
        """
        found = await store.get(self._claim.place)
        if found is not None and decode(found.value).owner != self._owner:
            raise self._taken()
        return 0 if found is None else found.version

    def _taken(self) -> ConflictError:
        return ConflictError(f"another delivery has the key {self._claim.key!r}")

    async def free(self) -> None:
        """Let others have the key; if that fails, its claim ends by itself."""
        with suppress(DriverError, TimeoutError):
            async with asyncio.timeout(_FORGET):
                await self._delete()

    async def _delete(self) -> None:
        store, version = await self._state.store(), self._version
        for _ in range(_TRIES):
            with suppress(ConflictError):
                await store.delete(self._claim.place, version=version)
                return
            if not (version := await self._found(store)):
                return


def once_for(consumer: Definition, transacting: Claims, off_clock: OffClock) -> Once | None:
    """The layer of a run; None: its consumer has no idempotency."""
    state = consumer.state
    if state is None or not consumer.options.idempotency:
        return None
    return Once(consumer, state, transacting, off_clock)
