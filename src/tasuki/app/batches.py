"""Batches: the verbs of an app for acts on many dead letters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from tasuki.app.handle import QueueHandle, id_of
from tasuki.app.state.finding import needed_state, states_there
from tasuki.dead import steps
from tasuki.dead.batch import CANARY, RATE, RIGHTS, Act, Batch
from tasuki.dead.batches.batch_store import BatchStore
from tasuki.dead.batches.planning import counted, plan
from tasuki.dead.batches.running import is_here
from tasuki.dead.selection import Choice, check_texts
from tasuki.errors import BatchNotFoundError, BatchStateError
from tasuki.message import new_id
from tasuki.observe.redact import redact
from tasuki.state.shared import SharedState
from tasuki.system.process import user_and_host

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.queues.queue import Queue
    from tasuki.security.guard import Guard

_log = logging.getLogger("tasuki.batches")
LISTED = 10
"""Batches that are shown."""
_LOOK = 0.2
_MOST_WORDS = 300


class Batches:
    """``app.dead.batches``: acts on many dead letters, which go on without the process that began them.

    A batch is a record in the state of its dead-letter queue. The process that begins one drives it; every worker that
    has the same state, and the desk, goes on with it within 10 seconds when that process dies.

    Args:
        live: gives the open app's objects.
        full_id: of a queue that is given by its name.
        actor: who acts; empty: the actor of the application, or the user and the host.
        is_permitted: whether someone else than the application acts, and has the rights; secrets are then compared
            as their mask.
    """

    def __init__(
        self,
        live: Callable[[], Assembly],
        full_id: Callable[[str], str] = str,
        *,
        actor: str = "",
        is_permitted: bool = False,
    ) -> None:
        self._live, self._full_id = live, full_id
        self._actor, self._is_permitted = actor, is_permitted

    async def begin(
        self,
        act: Act,
        queue: str | QueueHandle[Any],
        *,
        to: str | QueueHandle[Any] | None = None,
        where: str = "",
        ids: Collection[str] = (),
        group: tuple[str, str] | None = None,
        rate: float = RATE,
        canary: int | None = CANARY,
        limit: int | None = None,
        drive: bool = True,
        words: str = "",
    ) -> Batch:
        """Begin to retry, move or delete letters of a dead-letter queue, the oldest first; returns at once.

        Without ``where``, ``ids`` and ``group`` all letters that are there now. A letter that comes back is not moved
        again by the same batch.

        Args:
            act: ``retry``: each as it was first published, to the queue that it came from, or ``to`` another one;
                ``move``: as it is, with why it died, ``to`` another queue; ``delete``: to the trash, for 15 minutes.
            queue: the dead-letter queue.
            to: the queue that gets the letters.
            where: only those that this expression holds for; see :meth:`tasuki.app.dead.AppDead.letters`.
            ids: only those with one of these ids; 10,000 at most.
            group: only letters of one group: the name of the grouping, and the group's key: ``("cause", "9f3a…")``.
            rate: letters a second; 0: as fast as possible.
            canary: of a retry: stop if more than this many of the first 50 letters are dead letters again; None: never.
            limit: the largest number.
            drive: False: leave it to the workers.
            words: what the letters of the group have in common, for people who look at the batch.

        Raises:
            ValueError: the expression cannot be read, a number is out of range, or ``to`` is missing or too much.
            PolicyDeniedError: the actor may not.
            UnsupportedError: the queue has no state. QueueNotFoundError: there is no such queue.
            DriverError: its store or its broker cannot be reached.
        """
        live = self._live()
        source = live.queue(self._full_id(id_of(queue)))
        target = None if to is None else live.queue(self._full_id(id_of(to)))
        guard = self._guard(live)
        _require(guard, act, source, target)
        choice = Choice(where, frozenset(ids))
        state = needed_state(live, source.id, "a batch")
        batches = BatchStore(await state.store())
        batch = plan(
            Batch(
                new_id(), act, source.id, source.spec.name, await batches.store.time(), self._who(live),
                where=where, group=group, ids=len(choice.names), to=target.id if target else "", rate=rate,
                canary=canary, limit=limit, is_permitted=guard is None, masks=self._is_permitted,
                words=redact(words)[:_MOST_WORDS],
            ),
            source, target,
        )  # fmt: skip
        check_texts(*(group or ()))
        batch = await counted(batch, source, choice.names, live.batching.clock)
        if ids:
            await batches.put_ids(batch.id, list(choice.names))
        await batches.put(batch, 0)
        _log.info("batch %s: %s of %s begun, by %s", batch.id, act, source.id, batch.actor, extra=_facts(batch))
        await self._go(live, batches, state, batch.id, drive=drive)
        return batch

    async def get(self, id: str) -> Batch:
        """How far a batch is. Raises BatchNotFoundError, DriverError."""
        return (await self._find(id))[2]

    async def pause(self, id: str) -> Batch:
        """Let a batch stand still; it can be resumed. Raises as ``undo``."""
        return await self._order(id, "pause")

    async def resume(self, id: str, *, drive: bool = True) -> Batch:
        """Let a batch go on that is paused, has failed, or was stopped by its canary, now without it.

        One that runs, and whose process has died, goes on here when its lease is over. Raises as ``undo``.
        """
        return await self._order(id, "resume", drive=drive)

    async def cancel(self, id: str) -> Batch:
        """End a batch: letters that it has moved stay where they are. Raises as ``undo``."""
        return await self._order(id, "cancel")

    async def undo(self, id: str, *, drive: bool = True) -> Batch:
        """End a batch, and bring the letters back that still wait where it has put them.

        At its end ``undone`` says how many came back, and ``started`` how many were not there any more.

        Raises:
            BatchStateError: the batch is in another state, or its letters cannot be brought back; says why.
            BatchNotFoundError: there is none. PolicyDeniedError: the actor may not. DriverError: a broker refuses.
        """
        return await self._order(id, "undo", drive=drive)

    async def list(self) -> Sequence[Batch]:
        """The last ten batches of this project, the newest first; ended ones are kept for a day. Raises DriverError."""
        stores, live = await self._stores(), self._live()
        found = {each.id: each for _, batches in stores for each in await batches.all() if is_here(live, each)}
        return [found[id] for id in sorted(found, reverse=True)][:LISTED]

    async def wait(self, id: str, progress: Callable[[Batch], None] | None = None) -> Batch:
        """Wait until a batch stands still or has ended; ``progress`` is called with each state. Raises as ``get``."""
        while True:
            batch = await self.get(id)
            if progress is not None:
                progress(batch)
            if not batch.is_driven:
                return batch
            await asyncio.sleep(_LOOK)

    async def _order(self, id: str, order: steps.Order, *, drive: bool = True) -> Batch:
        live = self._live()
        state, batches, batch = await self._find(id)
        guard = self._guard(live)
        if guard is not None:
            guard.require("queue.admin.batch", batch.queue, f"not allowed to {order} batches of queue: {batch.queue}")
        if drive and order in ("resume", "undo") and not is_here(live, batch):
            where = f"its queue {batch.queue} ({batch.name} at the broker) is not one of this project"
            raise BatchStateError(f"batch {id}: {where}: {order} it from its own", batch=id)
        now = await batches.store.time()
        batch = await batches.change(id, lambda batch: steps.ordered(batch, order, now))
        who = self._who(live)
        _log.info("batch %s: %s, by %s", id, order, who, extra=_facts(batch) | {"actor": who})
        if batch.is_driven or steps.is_due_to_be_emptied(batch):
            await self._go(live, batches, state, id, drive=drive)
        return batch

    async def _go(self, live: Assembly, batches: BatchStore, state: SharedState, id: str, *, drive: bool) -> None:
        await batches.tell(id)
        if drive:
            live.batching.take(state, id)

    async def _find(self, id: str) -> tuple[SharedState, BatchStore, Batch]:
        for state, batches in await self._stores():
            if (found := await batches.get(id)) is not None:
                return state, batches, found[0]
        raise BatchNotFoundError(f"there is no batch {id}: it was never begun, or ended more than a day ago", batch=id)

    async def _stores(self) -> Sequence[tuple[SharedState, BatchStore]]:
        """The states of all queues, which may have batches."""
        return [(state, BatchStore(await state.store())) for state in await states_there(self._live())]

    def _guard(self, live: Assembly) -> Guard | None:
        return None if self._is_permitted else live.rights.application

    def _who(self, live: Assembly) -> str:
        guard = self._guard(live)
        return guard.actor.id if guard is not None and guard.actor is not None else self._actor or user_and_host()


def _facts(batch: Batch) -> dict[str, object]:
    return {"batch": batch.id, "queue": batch.queue, "act": batch.act, "actor": batch.actor}


def _require(guard: Guard | None, act: Act, source: Queue, target: Queue | None) -> None:
    """Raise PolicyDeniedError if the actor may not do this with letters of ``source``, or send them to ``target``."""
    if guard is None:
        return
    right = f"queue.admin.{RIGHTS.get(act, act)}"
    guard.require(right, source.id, f"not allowed to {act} letters of queue: {source.id}")
    if target is not None:
        guard.publish(target.id)
