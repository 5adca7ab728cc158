"""Redrive: send dead letters back to the queues where they failed, or any messages to another queue."""

from __future__ import annotations

from collections.abc import Callable

from tasuki.clock import Clock
from tasuki.contracts.driver import Ack, Limit, Received, Release, Settlement
from tasuki.dead.held import AWHILE, Pace, settle_all
from tasuki.dead.host import Host
from tasuki.dead.moving.carrying import can_carry, carry_delayed
from tasuki.dead.moving.sorting import Sorter
from tasuki.dead.moving.transferring import BATCH, Form, Transferring, after_letter, can_transfer
from tasuki.dead.reading import Movable, movable
from tasuki.dead.selection import Choice
from tasuki.errors import HeldBackError
from tasuki.queues.dead_letter import sent_back
from tasuki.queues.limits import limit_facts, limit_text
from tasuki.queues.queue import Queue

_PATIENCE = 10.0
"""Seconds for which the next message of a queue with a limit is waited for at least: a place may become free."""
_LONGEST_PATIENCE = 60.0
"""At a low rate, it is waited for as long as the rate takes, unless that is longer."""


async def redrive(
    host: Host,
    source: Queue,
    target: Queue | None,
    limit: int | None,
    progress: Callable[[int], None] | None = None,
    *,
    clock: Clock,
    choice: Choice | None = None,
    rate: float | None = None,
    is_permitted: bool = False,
    form: Form = sent_back,
) -> int:
    """Move messages from a dead-letter queue back; returns how many.

    Where the driver has ``transfer`` and the target is one of its queues, each goes in one step, and the others keep
    their places. Elsewhere, and from a queue with a limit, each is received, published and then acked; those that
    ``choice`` does not take are held until the end, and then go back to their places. Delayed ones, which no receive
    gets, are shown, published and then removed, where the driver can (``carry_delayed``). A limit that the source's
    driver keeps holds for a redrive as well (42), so messages leave no faster; ``rate``: at most so many a second.

    A message stays if its original queue is not declared any more, rejects it, or is closed to the application. With
    ids, it ends when a letter of each has come. ``is_permitted``: someone else than the application acts, and has the
    rights. ``form``: makes the message to be sent of a letter, at a time in Unix seconds.

    Raises:
        HeldBackError: the limit of the source hands out no more now, and some are left; says how many, and why.
        PolicyDeniedError: the application may not redrive from here, or not publish there.
        DriverError: the first refusal; messages that were moved before it stay moved.
    """
    if not is_permitted:
        _require(host, source, target)
    guard = None if is_permitted else host.rights.application
    sorter = Sorter(host.queues, guard, source, target, choice or Choice(), clock.time())
    pace = Pace(source, rate, clock, sorter.left)
    moved = 0
    is_left = True
    if source.driver.capabilities.transfer and source.driver.capabilities.peek and not _limits(source):
        transferring = Transferring(source, sorter, pace, clock, host.observers, form)
        await transferring.run(limit, progress)
        moved, is_left = transferring.moved, transferring.is_elsewhere
        if is_left:
            sorter.again()
            sorter.takes = lambda queue: not can_transfer(source, queue)
    if not is_left:
        sorter.report()
        return moved
    received, is_held_back = await _receive_all(source, sorter, pace, limit, moved, progress, clock, form)
    moved += received
    if can_carry(source) and not _limits(source):
        moved += await carry_delayed(source, sorter, pace, limit, moved, progress, clock, form)
    sorter.report()
    if is_held_back:
        await _report_left(source, received, None if limit is None else limit - moved, len(sorter.left))
    return moved


async def _receive_all(
    source: Queue,
    sorter: Sorter,
    pace: Pace,
    limit: int | None,
    before: int,
    progress: Callable[[int], None] | None,
    clock: Clock,
    form: Form,
) -> tuple[int, bool]:
    """Receive, publish and ack, each published before it is acked; ``before``: how many were moved already.

    Returns how many were moved, and whether the limit of the source holds back others.
    """
    limit = None if limit is None else limit - before
    depth = await source.driver.depth(source.spec.name)
    left = depth.ready
    wait = _patience(source)
    moved = 0
    is_held_back = False
    try:
        while left > 0 and (limit is None or moved < limit) and not sorter.has_all:
            wanted = min(BATCH if limit is None else limit - moved, pace.most(BATCH))
            batch = await source.driver.receive(source.spec.name, min(left, wanted), wait)
            if not batch:
                is_held_back = bool(_limits(source))
                break
            left -= len(batch)
            moved += await _move(source, sorter.by_queue(batch), clock.time(), form)
            if progress is not None:
                progress(before + moved)
            await pace.keep(before + moved, is_last=left <= 0 or moved == limit or sorter.has_all)
            if left <= 0 and depth.is_estimate:  # there may be more
                depth = await source.driver.depth(source.spec.name)
                left = depth.ready
    finally:
        if sorter.left:
            await settle_all(source, [Release(receipt) for receipt in reversed(sorter.left)])
    return moved, is_held_back


async def would_move(
    host: Host, source: Queue, target: Queue | None, limit: int | None, choice: Choice, *, clock: Clock
) -> Movable:
    """What a redrive would move. Raises as ``redrive``, and HeldBackError."""
    _require(host, source, target)
    homes = [queue.id for queue in host.queues.values() if queue.policy.dead_letter == source.id]
    targets = () if target is not None else homes or [source.id]
    return await movable(host, source, targets, choice, limit, clock)


def _patience(source: Queue) -> float:
    """Seconds to wait for the next message."""
    limits = _limits(source)
    if not limits:
        return AWHILE
    slowest = max((1.1 / each.rate for each in limits if each.rate is not None), default=0.0)
    return max(_PATIENCE, slowest if slowest <= _LONGEST_PATIENCE else 0.0)


def _limits(source: Queue) -> list[Limit]:
    return [each for each in (source.spec.limit, source.spec.lane_limit) if each is not None]


async def _report_left(source: Queue, moved: int, wanted: int | None, strangers: int) -> None:
    """Raise HeldBackError if messages are left that were to be moved; another receiver may have taken them."""
    depth = await source.driver.depth(source.spec.name)
    left = depth.ready - strangers
    left = left if wanted is None else min(left, wanted)
    if left <= 0:
        return
    text = limit_text(limit_facts(source.spec, source.policy)["limit"])
    counts = [f"{moved} sent back", f"{left} left"]
    counts += [f"{depth.in_flight} held by consumers"] if depth.in_flight else []
    counts += [f"{strangers} from no queue of this project, which take part of it"] if strangers else []
    raise HeldBackError(
        f"the limit of queue {source.id!r} ({text}) hands out no more messages now: {', '.join(counts)}; do it again "
        "later, or take the limit off the queue for this time",
        driver=source.driver.name,
        queue=source.id,
    )


def _require(host: Host, source: Queue, target: Queue | None) -> None:
    if (guard := host.rights.application) is not None:
        guard.require("queue.admin.redrive", source.id, f"not allowed to redrive from queue: {source.id}")
        if target is not None:
            guard.publish(target.id)


async def _move(source: Queue, by_queue: dict[Queue, list[Received]], now: float, form: Form) -> int:
    """Publish each message and ack it, or release it where that failed; returns how many were moved."""
    acks: list[Settlement] = []
    releases = {received.receipt: Release(received.receipt) for batch in by_queue.values() for received in batch}
    refused: Exception | None = None
    try:
        for queue, batch in by_queue.items():
            letters = [form(received, now) for received in batch]
            errors = await queue.forward(letters, after=[after_letter(received) for received in batch])
            for received, error in zip(batch, errors, strict=True):
                if error is None:
                    del releases[received.receipt]
                    acks.append(Ack(received.receipt))
                else:
                    refused = refused or error
    finally:
        # Newest first: each release goes to the head, so the old order is restored.
        await settle_all(source, [*acks, *reversed(releases.values())])
    if refused is not None:
        raise refused
    return len(acks)
