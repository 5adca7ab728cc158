"""Run one batch or its undo while this process has its lease, and empty its trash."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tasuki.clock import Clock
from tasuki.contracts.driver import Outgoing
from tasuki.dead import steps
from tasuki.dead.batch import TRASH_TIME, Batch
from tasuki.dead.batches.batch_store import LEASE, BatchStore, HaltedError, LeasedBatch
from tasuki.dead.forms import CHUNK, Note, restored
from tasuki.dead.moving.by_receive import ByReceive
from tasuki.dead.moving.by_transfer import ByTransfer
from tasuki.dead.moving.moving import FailedAgain
from tasuki.dead.moving.places import Places, removed, transfer
from tasuki.dead.selection import Chooser
from tasuki.dead.walk import Search, Walk
from tasuki.errors import DriverError, MessageNotFoundError, QueueNotFoundError, TasukiError
from tasuki.message import BATCH, EXPIRES_AT, Message

if TYPE_CHECKING:
    from tasuki.dead.host import Host


_AT_ONCE = 10
"""Chunks whose letters are searched together."""


class Undoing:
    """Every verb may raise HaltedError and DriverError."""

    def __init__(self, leased: LeasedBatch, places: Places) -> None:
        self._leased, self._places = leased, places

    async def run(self) -> None:
        """Bring back what still waits; the batch is undone when this returns."""
        leased = self._leased
        if not leased.batch.is_back:
            await leased.write(steps.turned(leased.batch, await self._still_there()))
        names = await self._names()
        known: set[str] = set()
        is_short = False
        for first in range(0, leased.batch.chunks, _AT_ONCE):
            layers: dict[str, list[dict[str, Note]]] = {name: [] for name in names}
            for number in range(first, min(first + _AT_ONCE, leased.batch.chunks)):
                await leased.sure()
                found = await leased.batches.notes(leased.batch.id, number)
                is_short = is_short or not found
                known.update(found)
                for id, note in found.items():
                    for name in self._names_for(note, names):
                        lay(layers[name], id, note)
            for name in names:
                for layer in layers[name]:
                    await self._bring_from(name, layer)
        there = await self._still_there()
        finished = steps.finished(leased.batch, await leased.now(), there)
        if is_short:
            lost = max(finished.moved - len(known), 0)
            text = f"{lost:,} of its letters were moved more than two days ago, and are not brought back any more"
            finished = replace(finished, problem=text)
        await leased.end(finished)

    async def _bring_from(self, name: str, notes: Mapping[str, Note]) -> None:
        search = Search(self._places.driver, name, list(notes))
        while page := await search.page():
            mine = [each for each in page if each.headers.get(BATCH) == self._leased.batch.id]
            mine = [*reversed({each.id: each for each in reversed(mine)}.values())]
            for start in range(0, len(mine), CHUNK):
                await self._bring(name, mine[start : start + CHUNK], notes)

    async def _still_there(self) -> set[str]:
        """The letters in doubt that are in their queue: not moved yet, or back again."""
        batch, found = self._leased.batch, set[str]()
        search = Search(self._places.driver, self._places.source.spec.name, batch.doubt)
        while page := await search.page():
            await self._leased.sure()
            found |= {each.id for each in page if each.headers.get(BATCH) != batch.id}
        return found

    async def _names(self) -> list[str]:
        """The queues that have the letters, by their names at the broker."""
        batch = self._leased.batch
        if batch.act == "delete":
            await self._places.declare_trash()
            return [self._places.trash]
        return [queue.spec.name for queue in self._places.queues(batch.targets) if self._places.reaches(queue)]

    def _names_for(self, note: Note, names: list[str]) -> list[str]:
        """Where the letter of a note is: another one of its id may have gone to another queue."""
        batch, places = self._leased.batch, self._places
        if batch.act == "retry" and not batch.to and (home := places.home(note)) is not None:
            return [name for name in names if name == home.spec.name] or names
        return names

    async def _bring(self, name: str, chunk: Sequence[Message], notes: Mapping[str, Note]) -> None:
        leased, source = self._leased, self._places.source
        ids = [message.id for message in chunk]
        again = steps.again_of(leased.batch, ids)
        act, now = leased.batch.act, leased.clock.time()
        back = [restored(message, act, notes[message.id], source.spec, now) for message in chunk]
        await leased.announce(steps.about(leased.batch, ids))
        await leased.sure()

        async def carry(messages: Sequence[Outgoing]) -> list[DriverError | None]:
            return await transfer(source.driver, name, chunk, source.spec.name, messages)

        answers = await self._places.put(source, back, carry=carry)
        undone, trouble = 0, None
        for id, answer in zip(ids, answers, strict=True):
            if answer is None or (isinstance(answer, MessageNotFoundError) and id in again):
                undone += 1
            elif not isinstance(answer, MessageNotFoundError):
                trouble = answer
        settled = steps.settled(leased.batch, undone, 0, 0)
        await leased.write(replace(settled, problem=str(trouble) if trouble else settled.problem))
        if trouble is not None:
            raise trouble


def lay(layers: list[dict[str, Note]], id: str, note: Note) -> None:
    """Add a note to the first layer that has none of its id: the oldest letter of an id was moved first."""
    if (layer := next((each for each in layers if id not in each), None)) is None:
        layers.append(layer := {})
    layer[id] = note


_LOST = 7 * 86_400.0
"""Seconds after which letters go whose own batch has not taken them: its record is gone by then."""


async def empty(places: Places, batch: str, now: float) -> int:
    """Remove the letters of a batch, and those that no batch takes any more; returns how many. Raises DriverError."""
    count = 0
    with suppress(QueueNotFoundError):
        await places.declare_trash()
        walk = Walk(places.driver, places.trash)
        while page := await walk.page():
            over: list[Message] = []
            for message in page:
                if is_over(message, batch, now):
                    over.append(message)
                else:
                    walk.stays(message)
            if over:
                count += await removed(places.driver, places.trash, over)
    return count


def is_over(message: Message, batch: str, now: float) -> bool:
    """Whether the letter goes when this batch, which can no longer be undone, is emptied.

    Letters of other batches stay: these may be undone for a quarter of an hour after their own end.
    """
    at = message.headers.get(EXPIRES_AT)
    if not isinstance(at, int | float):
        return False
    return at <= now and (message.headers.get(BATCH) == batch or at + _LOST <= now)


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
