"""Show the letters of a broker that cannot peek: receive some, and release them at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from uuid import uuid4

from tasuki.clock import Clock
from tasuki.contracts.driver import Receipt, Received, Release, Settlement
from tasuki.dead.host import Host
from tasuki.errors import DriverError, HeldBackError
from tasuki.queues.dead.letter import name_of
from tasuki.queues.queue import Queue
from tasuki.security.guard import Guard


async def settle_all(source: Queue, settlements: Sequence[Settlement]) -> None:
    """Settle letters in the order given, in batches; a cancellation is raised when all are settled.

    Raises:
        DriverError: a batch could not be settled; the later ones are not.
    """
    settling, is_cancelled = asyncio.create_task(_settle(source, settlements), name="settle letters"), False
    while not settling.done():
        try:
            await asyncio.wait([settling])
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        settling.exception()  # read, so that asyncio does not log it
        raise asyncio.CancelledError
    settling.result()


async def _settle(source: Queue, settlements: Sequence[Settlement]) -> None:
    size = source.driver.capabilities.max_batch
    for start in range(0, len(settlements), size):
        await source.driver.settle(source.spec.name, settlements[start : start + size])


class Held:
    """Deliveries of a queue that are not handed out again before they are released."""

    def __init__(self, source: Queue, clock: Clock) -> None:
        self._source, self._clock = source, clock
        self._renewed = clock.monotonic()
        self.receipts: list[Receipt] = []
        """There may be very many."""
        self.step = source.spec.lease / 3
        """Seconds between two renewals."""

    async def receive(self, most: int, wait: float) -> Sequence[Received]:
        """Receive up to ``most`` more, and hold them. Raises DriverError."""
        received = await self._source.driver.receive(self._source.spec.name, most, wait)
        self.receipts += [each.receipt for each in received]
        return received

    async def renew(self) -> None:
        """Renew their leases, if a third of them is over."""
        now = self._clock.monotonic()
        driver, spec = self._source.driver, self._source.spec
        if not self.receipts or not driver.capabilities.has("leases") or now - self._renewed < self.step:
            return
        self._renewed = now
        receipts = [*self.receipts]
        size = driver.capabilities.max_batch
        for start in range(0, len(receipts), size):
            await driver.extend(spec.name, receipts[start : start + size], spec.lease)

    async def release(self) -> None:
        """Give them back, the newest first: each goes to the head of the queue, so the old order is restored."""
        await settle_all(self._source, [Release(receipt) for receipt in reversed(self.receipts)])


RIGHT = "queue.admin.borrow"

LONGEST = 10.0
"""Seconds for which letters are held at most, unless half the lease of the queue is shorter."""

MOST_BYTES = 64 * 1024 * 1024
"""Bodies that are held at once."""

_WAIT = 1.0
"""Seconds to wait for a first letter: the broker may have to make a consumer, or to ask several of its machines."""

_LEASE = 30.0
"""Seconds after which another reader may go on, if this process is killed."""

_PREFIX = "borrow/"

_here: set[tuple[str, str]] = set()
"""Driver and queue that a reader of this process borrows from."""

_changing = Lock()


@dataclass(frozen=True, slots=True)
class Borrowed:
    """Letters that were received and released: the first of the queue where it keeps an order, else any of them."""

    letters: list[Received]
    is_all: bool
    """Whether the queue had no more."""


async def borrow(
    host: Host, source: Queue, most: int, *, clock: Clock, guard: Guard | None, seconds: float = LONGEST
) -> Borrowed:
    """Receive up to ``most`` letters of a dead-letter queue, and release them.

    The newest first, so that they keep their order. One reader at a time, over all processes where the queue has a
    state. A release counts no attempt, but for messages with a key in a FIFO queue of SQS. If the process is killed
    meanwhile, the letters come back as from any killed consumer.

    Args:
        host: of an open app.
        source: its broker cannot peek.
        most: letters.
        clock: of the app.
        guard: whose rights are asked; None: another has asked.
        seconds: for which letters are held at most, unless half the lease of the queue is shorter.

    Raises:
        PolicyDeniedError: no policy allows ``queue.admin.borrow``. HeldBackError: another reader has them now.
        DriverError: the broker refuses.
    """
    if guard is not None:
        guard.require(RIGHT, source.id, f"not allowed to borrow from queue: {source.id}: no policy allows {RIGHT}")
    async with _alone(host, source):
        return await _read(source, most, clock, seconds)


async def _read(source: Queue, most: int, clock: Clock, seconds: float) -> Borrowed:
    depth = await source.depth_here()
    ends = clock.monotonic() + min(seconds, source.spec.lease / 2)
    held, found = Held(source, clock), list[Received]()
    size, is_empty = 0, False
    try:
        while len(found) < most and size < MOST_BYTES and clock.monotonic() < ends and not is_empty:
            wanted = min(most - len(found), source.driver.capabilities.max_batch)
            batch = await held.receive(wanted, min(_WAIT, ends - clock.monotonic()))
            found += batch
            size += sum(len(received.body) for received in batch)
            is_empty = not batch or (len(found) >= depth.ready and not depth.is_estimate)
    finally:
        await held.release()
    is_all = is_empty if depth.is_estimate else len(found) >= depth.ready
    # A broker may have handed out one twice.
    return Borrowed(list({name_of(received): received for received in found}.values()), is_all)


@asynccontextmanager
async def _alone(host: Host, source: Queue) -> AsyncIterator[None]:
    """The one reader of the queue. Raises HeldBackError."""
    key = (source.driver.name, source.spec.name)
    with _changing:
        if key in _here:
            raise _busy(source)
        _here.add(key)
    try:
        state = host.state_of(source.id)
        if state is None:
            yield
            return
        store, holder = await state.store(), uuid4().hex
        place = _PREFIX + source.id
        if await store.hold(place, holder, places=1, lease=_LEASE) is None:
            raise _busy(source)
        try:
            yield
        finally:
            with suppress(DriverError):  # then it ends with its lease
                await asyncio.shield(store.release(place, holder))
    finally:
        with _changing:
            _here.discard(key)


def _busy(source: Queue) -> HeldBackError:
    return HeldBackError(
        f"queue {source.id!r}: another reader borrows its letters now, for up to {LONGEST:.0f} s; do it again then",
        driver=source.driver.name,
        queue=source.id,
    )
