"""The sampler: one snapshot for all viewers, taken when one of them asks and the last one is too old."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from tasuki.clock import Clock
from tasuki.desk.reading.attention import lost_of, queue_in
from tasuki.desk.reading.recent import Past
from tasuki.desk.reading.rows import Counts, Rates, RowFacts, count, name_causes, row_of
from tasuki.desk.reading.snapshot import STALE, QueueRow, Snapshot
from tasuki.desk.site import AwayError, Site, problem_of
from tasuki.errors import TasukiError
from tasuki.state.worker_record import TTL, Presence, Unlisted, as_of_sign

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

_AGE = 1.5
"""Seconds for which a snapshot is new enough; without viewers nothing is read."""
_FIRST = 8.0
"""Seconds that the first page waits for the first snapshot."""
_SOON, _OLD, _LATER = 0.25, 6.0, 2.0
"""Seconds that a page waits for a new snapshot; those from which on the last one is old; and then waits. It waits for
``_FIRST`` where the last one is ``STALE``, as after a while without viewers."""
_SHARE = 5
"""A snapshot that takes long is taken more seldom: it may take one part in this many of the time."""
_LONGEST = 10.0
"""Seconds after which it is taken again in any case: a broker that is back must be seen to be back."""


class Sampler:
    """Belongs to the event loop of the desk."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site, self._clock = site, clock
        self._rates = Rates()
        self.past = Past(site, clock)
        self._last = Snapshot(float("-inf"), 0.0)
        self._took = 0.0
        self._silent_at: dict[str, float] = {}
        """When the store of a queue did not answer last, by the clock of ``taken``."""
        self._task: asyncio.Task[Snapshot] | None = None

    async def latest(self, *, now: bool = False) -> Snapshot:
        """The snapshot; an older one while a newer one is being taken.

        Args:
            now: wait for one that is begun after this call, as after an act.

        Raises:
            AwayError: there is none yet, and nothing can be read. TasukiError: the project has mistakes.
        """
        if now and self._task is not None:
            await asyncio.wait([self._task], timeout=_FIRST)
        age = self._clock.monotonic() - self._last.taken
        if not now and age < max(_AGE, min(self._took * _SHARE, _LONGEST)):
            return self._last
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._take(), name="desk snapshot")
        is_first = now or not self._last.queues
        patience = _FIRST if is_first or age >= STALE else _SOON if age < _OLD else _LATER
        await asyncio.wait([self._task], timeout=patience)
        if self._task.done():
            return self._task.result()
        if is_first:
            raise AwayError("the brokers have not answered yet; the page reloads automatically")
        age = self._clock.monotonic() - self._last.taken
        return replace(self._last, age=age) if age >= STALE else self._last

    async def close(self) -> None:
        """End a read under way."""
        await self.past.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _take(self) -> Snapshot:
        began = self._clock.monotonic()
        await self._site.follow()
        counts: dict[str, Counts] = {}
        here: list[Presence] = []
        problems: list[str] = []
        is_waiting = False
        unread: dict[str, str] = {}
        for app, ids in self._site.parts():
            try:
                found, present = await self._site.on(app, partial(self._read, ids))
            except TasukiError as error:
                problems.append(problem_of(error))
                is_waiting = True
                unread |= dict.fromkeys(ids, problems[-1])
                continue
            statuses = app._runtime.supervisor.states()
            name_causes(found, {id: each.error for id, each in statuses.items() if each.error is not None})
            counts.update(dict.fromkeys(ids, found))
            here += present
            problems += found.trouble
            is_waiting |= bool(found.silent or found.trouble)
        now = max((found.now for found in counts.values() if found.now), default=self._clock.time())
        told = [as_of_sign(worker, now) for found in _each(counts) for worker in found.workers]
        names = self._site.ids
        workers = [each for each in _merged([*told, *here]) if queue_in(each, names) or each.unlisted.consumers]
        taken = self._clock.monotonic()
        self._rates.note(workers, taken)
        await self.past.latest()
        doubtful = self._doubtful(counts, taken)
        rows = self._rows(counts, workers, unread, doubtful)
        for text in dict.fromkeys(row.problem for row in rows.values() if row.problem):
            problems.append(text)
        silent = [each for found in _each(counts) for each in found.lost if queue_in(each, names)]
        lost = lost_of(_merged(silent), workers, self.past.processes)
        lost = [each for each in lost if queue_in(each, names) not in doubtful]
        self._last = Snapshot(taken, now, rows, workers, list(dict.fromkeys(problems)), lost, self.past.ends)
        # To wait for an unavailable broker costs it nothing, and its return is to be seen soon.
        self._took = 0.0 if is_waiting else self._clock.monotonic() - began
        return self._last

    def _doubtful(self, counts: Mapping[str, Counts], taken: float) -> Set[str]:
        """The queues whose store was silent just now: living workers may not have given a sign since."""
        for id in self._site.queues:
            if id not in counts or id not in counts[id].asked:
                self._silent_at[id] = taken
        return {id for id, at in self._silent_at.items() if taken - at < TTL}

    async def _read(self, ids: list[str], live: Assembly) -> tuple[Counts, list[Presence]]:
        found = await count(live, ids)
        private = [id for id in ids if self._site.is_private(id)]
        present = self._site.present_here(live, private, self._clock.time()) if private else None
        return found, [present] if present is not None else []

    def _rows(
        self, counts: Mapping[str, Counts], workers: list[Presence], unread: Mapping[str, str], doubtful: Set[str]
    ) -> dict[str, QueueRow]:
        live = self._site.live
        states = {id: live.state_of(id) for id in self._site.queues}
        with_store = {id for id, state in states.items() if state and state.driver.capabilities.multi_process}
        facts = RowFacts.of(live.project, workers, with_store)
        rows = {}
        past, known, ends = self.past.queues, self.past.known, self.past.ends
        for id in self._site.queues:
            seen = counts.get(id)
            problem = "" if seen is not None else unread.get(id) or self._unseen(id)
            rows[id] = row_of(
                id,
                live.queues[id],
                facts,
                seen,
                self._rates,
                problem,
                past.get(id),
                knows_past=id in known,
                ends=ends,
                is_doubtful=id in doubtful,
            )
        return facts.with_dead(rows)

    def _unseen(self, queue: str) -> str:
        try:
            self._site.app_for(queue)
        except AwayError as error:
            return str(error)
        return "it could not be read"


def _each(counts: Mapping[str, Counts]) -> list[Counts]:
    return list({id(found): found for found in counts.values()}.values())


def _merged(workers: list[Presence]) -> list[Presence]:
    """Each worker once, although each store of its queues has an entry of it.

    Without the ones in whose place another process has started since their last sign: those were killed.
    """
    found: dict[tuple[str, str], Presence] = {}
    for worker in workers:
        before = found.get((worker.name, worker.process))
        found[worker.name, worker.process] = worker if before is None else _joined(before, worker)
    last: dict[str, float] = {}
    for worker in found.values():
        last[worker.name] = max(last.get(worker.name, 0.0), worker.started)
    alive = (
        worker for worker in found.values() if worker.seen > last[worker.name] or worker.started == last[worker.name]
    )
    return sorted(alive, key=lambda worker: (worker.host, worker.started, worker.pid))


def _joined(one: Presence, other: Presence) -> Presence:
    known = {consumer.id for consumer in one.consumers}
    more = [consumer for consumer in other.consumers if consumer.id not in known]
    return msgspec.structs.replace(
        one,
        seen=max(one.seen, other.seen),
        consumers=[*one.consumers, *more],
        left_out=one.left_out + other.left_out,
        unlisted=_added(one.unlisted, other.unlisted),
        health=one.health or other.health,
        overlap=one.overlap + other.overlap,
    )


def _added(one: Unlisted, other: Unlisted) -> Unlisted:
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return Unlisted(*(mine + theirs for mine, theirs in pairs))
