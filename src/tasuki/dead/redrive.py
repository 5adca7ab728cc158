"""Redrive: send dead letters back to the queues where they failed, or any messages to another queue; no record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from msgspec.structs import replace

from tasuki.clock import Clock
from tasuki.dead.batch import Batch
from tasuki.dead.counting import count_of_cause
from tasuki.dead.host import Host
from tasuki.dead.moving.by_receive import ByReceive
from tasuki.dead.moving.by_transfer import ByTransfer
from tasuki.dead.moving.moving import Progress
from tasuki.dead.moving.places import Form, Places, moves_in_one_step
from tasuki.dead.reading import read
from tasuki.dead.selection import Choice, Chooser, cause_of
from tasuki.message import new_id
from tasuki.queues.policy import driver_limits
from tasuki.queues.queue import Queue

_log = logging.getLogger("tasuki.redrive")


@dataclass(frozen=True, slots=True)
class Movable:
    """What a redrive would move."""

    count: int
    is_all: bool
    """False: there are more letters, and only the newest were asked, of one cause if the question names one."""
    unclear: int
    """Letters that could not be judged, and would stay."""
    problem: str


async def redrive(
    host: Host,
    source: Queue,
    target: Queue | None,
    limit: int | None,
    progress: Callable[[int], None] | None = None,
    *,
    clock: Clock,
    where: str = "",
    ids: Collection[str] = (),
    rate: float | None = None,
    is_permitted: bool = False,
    form: Form | None = None,
) -> Batch:
    """Move messages from a dead-letter queue back; returns what became of them.

    It is a batch that lives in this process alone, and ends at the first refusal. Where the driver has
    ``transfer``, each letter goes in one step, and the others keep their places; to a queue of another driver it is
    published, and then removed. Elsewhere, and from a queue with a limit, each is received, published and then acked,
    and those that are not chosen are held until the end. A limit that the source's driver keeps holds for a redrive as
    well (42), so messages leave no faster, but for one letter.

    A message stays if its original queue is not declared any more, rejects it, or is closed to the application. With
    ids, it ends when a letter of each has come.

    Args:
        host: the open app.
        source: the dead-letter queue.
        target: the queue that gets them; None: the one where each failed.
        limit: the largest number.
        progress: called with how many have been moved so far.
        clock: of the app.
        where: only those that this expression holds for.
        ids: only those with one of these ids or names.
        rate: the largest number a second.
        is_permitted: someone else than the application acts, and has the rights.
        form: makes the message to be sent of a letter.

    Raises:
        ValueError: the rate is not above 0, or the expression cannot be read.
        HeldBackError: the limit of the source hands out no more now, and some are left; says how many, and why.
        PolicyDeniedError: the application may not redrive from here, or not publish there.
        DriverError: the first refusal; messages that were moved before it stay moved.
    """
    if not is_permitted:
        require_rights(host, source, target)
    if rate is not None and not rate > 0:
        raise ValueError(f"a rate is above 0 messages a second, not {rate:g}")
    batch = Batch(
        new_id(), "retry", source.id, source.spec.name, clock.time(), "",
        where=where, ids=len(frozenset(ids)), to=target.id if target else "", rate=rate or 0.0, canary=None,
        limit=limit, is_permitted=is_permitted, kept=False,
    )  # fmt: skip
    chooser = Chooser(batch, source, clock, ids)
    if limit is not None and limit <= 0:
        return batch
    is_one = limit == 1 and bool(ids)
    batch = replace(batch, atomic=moves_in_one_step(source.driver) and (is_one or not driver_limits(source.spec)))
    moving, places = Progress(await _counted(batch, source), clock, progress), Places(host, batch, form)
    await (ByTransfer if batch.atomic else ByReceive)(moving, places, chooser).run()
    if places.forbidden and (guard := host.rights.application) is not None:
        guard.publish(places.forbidden[0])  # raises
    if chooser.choice.unclear:
        say = "%d messages stay: the expression cannot be asked about them, as in: %s"
        _log.warning(say, chooser.choice.unclear, chooser.choice.problem, extra={"queue": source.id})
    return moving.batch


async def _counted(batch: Batch, source: Queue) -> Batch:
    """The batch with the number of letters that it looks at: as many as are there now."""
    if batch.ids:
        return batch
    if batch.atomic and (among := await count_of_cause(source.driver, source.spec.name, cause_of(batch))) is not None:
        return replace(batch, among=among)
    depth = await source.driver.depth(source.spec.name)
    return batch if depth.is_estimate else replace(batch, there=depth.waiting if batch.atomic else depth.ready)


async def would_move(
    host: Host, source: Queue, target: Queue | None, limit: int | None, choice: Choice, *, clock: Clock
) -> Movable:
    """What a redrive would move. Raises as ``redrive``, and as :func:`tasuki.dead.reading.read`."""
    require_rights(host, source, target)
    if target is not None and choice.is_cause_alone:
        source.check_may_peek()
        if (total := await count_of_cause(source.driver, source.spec.name, choice.cause)) is not None:
            return Movable(total if limit is None else min(total, limit), True, 0, "")
    homes = [queue.id for queue in host.queues.values() if queue.policy.dead_letter == source.id]
    found = await read(host, {source.id: ""}, choice, "queue", clock)
    count = sum(target is not None or letter.queue in homes for letter in found.letters)
    if limit is not None and count >= limit:
        return Movable(limit, True, found.unclear, found.problem)
    return Movable(count, found.is_all, found.unclear, found.problem)


def require_rights(host: Host, source: Queue, target: Queue | None) -> None:
    """Raise PolicyDeniedError unless the application may redrive from ``source``, and publish to ``target``."""
    if (guard := host.rights.application) is not None:
        guard.require("queue.admin.redrive", source.id, f"not allowed to redrive from queue: {source.id}")
        if target is not None:
            guard.publish(target.id)
