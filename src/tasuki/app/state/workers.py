"""Which worker processes there are, and how many consumers each queue has, as the stores of the queues tell it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from tasuki.app.measuring.delays import notes_in
from tasuki.app.measuring.whole import Told, is_whole, whole
from tasuki.contracts.driver import Depth, Kept
from tasuki.contracts.state.store import MAX_PAGE
from tasuki.errors import DriverError
from tasuki.queues.queue import Queue
from tasuki.state.shared import SharedState
from tasuki.state.worker_record import PRESENCE, Presence, consumers_of, decode

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly


@dataclass(frozen=True, slots=True)
class Crew:
    """The workers in one store at one time of it."""

    now: float
    alive: list[Presence] = field(default_factory=list)
    lost: list[Presence] = field(default_factory=list)
    """The ones that have not stopped in order in the last 15 minutes, and give no sign any more."""


async def workers_of(states: Iterable[SharedState]) -> list[Presence]:
    """The workers in these states, by host and age; one that has consumers in several stores is given once for each.

    Raises:
        DriverError: a store cannot be read.
    """
    found = [worker for state in states for worker in (await crew_of(state)).alive]
    return sorted(found, key=lambda worker: (worker.host, worker.started, worker.pid))


async def crew_of(state: SharedState) -> Crew:
    """The workers in one state. Raises DriverError."""
    store, found, cursor = await state.store(), list[Presence](), ""
    while True:
        page = await store.list(PRESENCE, after=cursor, limit=MAX_PAGE)
        found += [worker for entry in page.entries if (worker := decode(entry.value)) is not None]
        if not (cursor := page.cursor):
            break
    now = await state.now()
    if any(worker.is_gone(now) or worker.seen > now + _AHEAD for worker in found):  # or the store's clock was set
        state.forget_time()
        now = await state.now()
    lost = [worker for worker in found if worker.is_gone(now)]
    return Crew(now, [worker for worker in found if not worker.is_gone(now)], lost)


_AHEAD = 1.0
"""Seconds by which a sign may seem to come from the future."""


async def told_in(assembly: Assembly, state: SharedState, workers: list[Presence]) -> Told:
    """A state's report on the other processes; ``workers``: the other ones. Raises DriverError."""
    store = await state.store()
    notes = await notes_in(store, assembly.delays.process)
    return Told(workers, notes.delays, notes.purges, await store.time())


def depth_by(assembly: Assembly, queue: Queue, depth: Depth, told: Told | None) -> Depth:
    """What a queue's driver counts, with what processes tell where the broker does not."""
    state = assembly.state_of(queue.id)
    kept = queue.driver.kept(queue.spec.name) or Kept()
    own = [] if told is None or state is None else assembly.delays.own(state, queue, told.now)
    return whole(depth, kept, own, told, driver=queue.driver.name, queue=queue.spec.name)


class Census:
    """The messages and consumers of queues, over all processes.

    It reads each store once: make a new one for newer numbers.

    The consumers of this process count at once, the consumers of another one from its next sign on, which comes with
    their start, and until they stop, or 15 seconds after its last sign.
    """

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._others: dict[SharedState, Crew | None] = {}
        self._told: dict[SharedState, Told | None] = {}

    async def depth(self, queue: str) -> Depth:
        """The number of messages in a queue by its id. Raises DriverError."""
        live, state = self._assembly.queues[queue], self._assembly.state_of(queue)
        depth = await live.driver.depth(live.spec.name)
        if is_whole(depth) or state is None or not state.driver.capabilities.multi_process:
            return depth
        return depth_by(self._assembly, live, depth, await self._told_in(state))

    async def _told_in(self, state: SharedState) -> Told | None:
        if state not in self._told:
            others, self._told[state] = await self._others_in(state), None
            with suppress(DriverError, TimeoutError):
                if others is not None:
                    self._told[state] = await state.soon(lambda: told_in(self._assembly, state, others.alive))
        return self._told[state]

    async def count(self, queue: str) -> int | None:
        """The consumers of a queue by its id; None: unknown, as its driver has no store, or that cannot be read now."""
        assembly = self._assembly
        live, state = assembly.queues[queue], assembly.state_of(queue)
        here = live.consumer_count
        if state is None or not state.driver.capabilities.multi_process:
            return None if live.driver.capabilities.multi_process and not here else here
        others = await self._others_in(state)
        driver = None if state.driver is live.driver else live.driver.name
        elsewhere = None if others is None else consumers_of(others.alive, live.spec.name, driver)
        return here + elsewhere if elsewhere is not None else here or None

    async def alarms(self, queue: str) -> list[str]:
        """The trouble of the workers that consume from a queue, by their last signs; empty: unknown too."""
        live, state = self._assembly.queues[queue], self._assembly.state_of(queue)
        others = None if state is None or not state.driver.capabilities.multi_process else await self._others_in(state)
        if others is None:
            return []
        return [
            text
            for worker in [*others.alive, *others.lost]
            if any((each.driver, each.queue) == (live.driver.name, live.spec.name) for each in worker.consumers)
            and (text := worker.alarm(others.now))
        ]

    async def _others_in(self, state: SharedState) -> Crew | None:
        """The other processes; None: the store cannot be read, or does not answer within two seconds."""
        if state not in self._others:
            try:
                crew = await state.soon(partial(crew_of, state))
                own = self._assembly.attendance.key_in(state)  # after the read: the first sign may come meanwhile
                self._others[state] = replace(crew, alive=[worker for worker in crew.alive if worker.key != own])
            except (DriverError, TimeoutError):  # counts are worth showing without it
                self._others[state] = None
        return self._others[state]
