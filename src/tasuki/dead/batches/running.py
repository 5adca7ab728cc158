"""Running: one batch, driven for as long as this process has its lease."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from tasuki.clock import Clock
from tasuki.dead.batches.batch_lease import LEASE, HaltedError, LeasedBatch
from tasuki.dead.batches.batch_store import BatchStore
from tasuki.dead.batches.trash import empty
from tasuki.dead.batches.undoing import Undoing
from tasuki.dead.moving.by_receive import ByReceive
from tasuki.dead.moving.by_transfer import ByTransfer
from tasuki.dead.moving.failed_again import FailedAgain
from tasuki.dead.moving.places import Places
from tasuki.dead.rules import steps
from tasuki.dead.rules.batch import TRASH_TIME, Batch
from tasuki.dead.selection import Chooser
from tasuki.errors import DriverError, TasukiError

if TYPE_CHECKING:
    from tasuki.dead.host import Host

_log = logging.getLogger("tasuki.batches")
OTHERS = -1.0
_LONGEST_PAUSE = 30.0
_TRIES = 20
"""Failures in a row after which a batch has failed: about eight minutes of an unavailable broker."""


async def run(host: Host, batches: BatchStore, id: str, holder: str, clock: Clock, lease: float = LEASE) -> float:
    """Drive a batch, if no other process does, until it ends, or is to stand still.

    Returns the seconds after which it is to be asked for again: 0 where there is nothing to do for it any more,
    ``OTHERS`` where only another project can.

    Raises:
        DriverError: its store is unavailable.
    """
    found = await batches.get(id)
    if found is None:
        return 0.0
    if not is_here(host, found[0]):
        return OTHERS
    if not found[0].is_driven:
        return await _empty(host, batches, found[0])
    leased = LeasedBatch(found[0], batches, holder, clock, lease)
    if not await leased.take():
        return lease / 3
    try:
        await _drive(host, leased)
    except HaltedError:
        pass
    finally:
        await leased.leave()
    return 0.01


def is_here(host: Host, batch: Batch) -> bool:
    """Whether its queue is one of this project; processes of several projects may share a store."""
    queue = host.queues.get(batch.queue)
    return queue is not None and queue.spec.name == batch.name


async def _drive(host: Host, leased: LeasedBatch) -> None:
    """Until its end; an unavailable broker is tried again."""
    failures = 0
    while True:
        before = leased.batch.moved + leased.batch.undone
        try:
            await _step(host, leased)
        except DriverError as error:
            failures = 1 if leased.batch.moved + leased.batch.undone > before else failures + 1
            _log.warning("batch %s: %s", leased.batch.id, error, extra=_facts(leased.batch))
            if not error.retryable or failures > _TRIES:
                await leased.end(steps.failed(leased.batch, str(error), await leased.now()))
                break
            await leased.rest(min(2.0 ** (failures - 1), _LONGEST_PAUSE))
            await leased.write(steps.taken(leased.batch, leased.batch.runner))
        except (TasukiError, ValueError) as error:
            await leased.end(steps.failed(leased.batch, str(error), await leased.now()))
            break
        else:
            break
    batch = leased.batch
    with suppress(DriverError):
        await leased.batches.tidy(batch)
    say = "batch %s of %s is %s: %d moved, %d failed again, %d brought back%s"
    text = f": {batch.problem}" if batch.problem else ""
    _log.info(say, batch.id, batch.queue, batch.state, batch.moved, batch.returned, batch.undone, text,
              extra=_facts(batch))  # fmt: skip


async def _step(host: Host, leased: LeasedBatch) -> None:
    batch = leased.batch
    places = Places(host, batch)
    if batch.state == "undoing":
        await Undoing(leased, places).run()
        return
    ids = await leased.batches.ids(batch.id) if batch.ids else ()
    chooser = Chooser(batch, places.source, leased.clock, ids)
    way = ByTransfer if batch.atomic else ByReceive
    await way(leased, places, chooser, FailedAgain(places)).run()


async def _empty(host: Host, batches: BatchStore, batch: Batch) -> float:
    """Take the letters out of the trash that are due; seconds until the rest is, 0: nothing is left."""
    if not steps.is_due_to_be_emptied(batch) or batch.ended is None:
        return 0.0
    now = await batches.store.time()
    if (left := batch.ended + TRASH_TIME - now) > 0:
        return left
    batch = await batches.change(batch.id, steps.closed)  # from here on no undo begins
    if not steps.is_due_to_be_emptied(batch):
        return 0.0
    await empty(Places(host, batch), batch.id, now)
    await batches.tidy(await batches.change(batch.id, steps.emptied))
    return 0.0


def _facts(batch: Batch) -> dict[str, object]:
    return {"batch": batch.id, "queue": batch.queue, "act": batch.act, "actor": batch.actor}
