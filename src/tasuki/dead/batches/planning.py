"""Beginning: what a new batch is to move, and whether its letters can be brought back."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import isfinite

from msgspec.structs import replace

from tasuki.clock import Clock
from tasuki.dead.batch import ACTS, FIRST, KEPT, MOST_IDS, TRASH, Act, Batch
from tasuki.dead.counting import count_of_cause
from tasuki.dead.moving.places import moves_in_one_step, reaches
from tasuki.dead.selection import Choice, Chooser, cause_of
from tasuki.dead.walk import Walk
from tasuki.queues.dead.groups import KEYS
from tasuki.queues.queue import Queue

ASKED = 10_000
"""Letters that are asked one by one before it begins, to say how many there are; of a longer queue none are."""


def plan(batch: Batch, source: Queue, target: Queue | None = None) -> Batch:
    """The batch with what its driver allows; ``target``: the queue that gets all letters, if there is one.

    Raises:
        ValueError: something of it is out of range; says what.
    """
    if batch.act not in ACTS:
        raise ValueError(f"a batch does one of {', '.join(ACTS)}, not {batch.act!r}")
    if (batch.act == "move") > bool(batch.to):
        raise ValueError("to move letters, say where to")
    if batch.act == "delete" and batch.to:
        raise ValueError("letters are deleted, or moved to another queue, not both")
    if batch.to == source.id:
        raise ValueError(f"the letters of {source.id} are there already: choose another queue")
    if not (isfinite(batch.rate) and batch.rate >= 0):
        raise ValueError(f"a rate is 0, which means as fast as possible, or above, not {batch.rate:g}")
    if batch.canary is not None and not 0 <= batch.canary < FIRST:
        raise ValueError(f"a canary is 0 to {FIRST - 1} of the first {FIRST} letters, not {batch.canary}")
    if batch.limit is not None and batch.limit < 1:
        raise ValueError(f"a limit is at least 1, not {batch.limit}")
    if batch.ids > MOST_IDS:
        raise ValueError(
            f"{batch.ids:,} ids are too many: choose the letters by an expression, or {MOST_IDS:,} at most"
        )
    if batch.group is not None and batch.group[0] not in KEYS:
        raise ValueError(f"dead letters are grouped by {', '.join(KEYS)}, not by {batch.group[0]!r}")
    canary = batch.canary if batch.act == "retry" and source.driver.capabilities.has("peek") else None
    return replace(
        batch, atomic=moves_in_one_step(source.driver), kept=brings_back(source, batch.act, target), canary=canary
    )


def brings_back(source: Queue, act: Act, target: Queue | None = None) -> bool:
    """Whether letters get to the other queue in one step, and so back."""
    if not moves_in_one_step(source.driver):
        return False
    if act == "delete":
        return source.driver.can_transfer(source.spec.name, source.spec.name + TRASH)
    return target is None or reaches(source, target)


async def counted(batch: Batch, source: Queue, ids: Collection[str], clock: Clock) -> Batch:
    """The batch with the number of letters that it is to move, where that is known quickly. Raises DriverError."""
    depth = await source.driver.depth(source.spec.name)
    there = depth.waiting
    total: int | None = None
    among = await count_of_cause(source.driver, source.spec.name, cause_of(batch)) if batch.atomic else None
    looked_at = there if among is None else among
    if batch.ids:
        total = batch.ids
    elif not batch.where and batch.group is None:
        total = there
    elif among is not None and _asks_cause_alone(batch):
        total = among
    elif source.driver.capabilities.has("peek") and (among is not None or not depth.is_estimate) and looked_at <= ASKED:
        total = await _chosen(batch, source, ids, clock, "" if among is None else cause_of(batch))
    if total is not None and batch.limit is not None:
        total = min(total, batch.limit)
    kept = batch.kept and (total is None or total <= KEPT)
    return replace(batch, total=total, there=None if depth.is_estimate else there, among=among, kept=kept)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a batch would do."""

    count: int | None
    """Letters that it would move; None: unknown, as there are too many to ask each."""
    can_undo: bool
    """Whether they could be brought back, as far as it is known: not if there turn out to be more than 10,000."""


async def preview(
    source: Queue, clock: Clock, act: Act, *, to: str = "", where: str = "", ids: Collection[str] = (),
    group: tuple[str, str] | None = None, limit: int | None = None,
) -> Preview:  # fmt: skip
    """What a batch of these letters would do. Raises ValueError, DriverError as the begin of one."""
    batch = Batch(
        "", act, source.id, source.spec.name, 0.0, "", to=to, where=where, ids=len(ids), group=group, limit=limit
    )
    batch = await counted(plan(batch, source), source, ids, clock)
    return Preview(batch.total, batch.kept)


def _asks_cause_alone(batch: Batch) -> bool:
    return not batch.where if batch.group is not None else Choice(batch.where).is_cause_alone


async def _chosen(batch: Batch, source: Queue, ids: Collection[str], clock: Clock, cause: str) -> int:
    walk, chooser, chosen = Walk(source.driver, source.spec.name, cause), Chooser(batch, source, clock, ids), 0
    while page := await walk.page():
        for message in page:
            chosen += chooser.takes(message)
            walk.stays(message)
    return chosen
