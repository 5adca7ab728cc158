"""Looking: gathers the facts about a message from the broker, the state of its queue and its workers."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tasuki import __version__
from tasuki.app.explain.facts import AtWork, Declared, Facts, lives_of
from tasuki.app.explain.rule import Cause, Explanation, away_from, explain, without
from tasuki.app.state.fate import know
from tasuki.app.state.workers import workers_of
from tasuki.clock import Clock
from tasuki.consumers.reports.snapshot import Describer
from tasuki.contracts.driver import Outgoing, Waiting
from tasuki.contracts.state.store import Store
from tasuki.errors import DriverError, HandlerError, QueueNotFoundError
from tasuki.flow.attempts import read_attempts
from tasuki.flow.records import decode as decode_run
from tasuki.flow.records import run_key
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.message import PARTITION_KEY, Message
from tasuki.observe.events import as_dicts
from tasuki.queues.dead.attempts import records_in
from tasuki.queues.policy import limit_text
from tasuki.queues.queue import Queue
from tasuki.state import pauses
from tasuki.state.cancelling import is_cancelled
from tasuki.state.pauses import Pause, pause_key, read_pause, read_scale, scale_key
from tasuki.state.recorder_requests import Events, WorkerAddress, ask
from tasuki.state.worker_record import Presence

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.consumers.consumer import Consumer

DEEPEST = 10_000
"""Waiting messages that are looked through at most."""
PATIENCE = 2.0
"""Seconds in which workers answer; one whose event loop is blocked does not."""
NEWEST = 500
"""Events of each consumer that are asked for."""
_PAGE = 500

Answers = Mapping[str, Mapping[str, Events]]
"""Worker (``host:pid``) → consumer → its events."""


async def explain_in(live: Assembly, clock: Clock, queue: str, id: str) -> Explanation:
    """Why a message of this queue does not run.

    Raises:
        PolicyDeniedError: the application may not see the queue. DriverError: its broker or store cannot be reached.
    """
    look = look_for_application(live, clock, queue, id)
    return explain(await look.ask_workers(await look.plainly()))


async def search(live: Assembly, clock: Clock, queues: Sequence[str], id: str) -> Explanation:
    """Why a message of one of these queues does not run; the first queue that knows it counts.

    A queue that cannot be reached is its own cause, unless another one has the message.
    Raises PolicyDeniedError: the application may not see a queue.
    """
    looks = [look_for_application(live, clock, queue, id) for queue in queues]
    seen: list[tuple[Look, Facts]] = []
    away: list[Cause] = []
    for look in looks:
        try:
            facts = await look.plainly()
            if explain(facts).found:
                return explain(await look.ask_workers(facts))
        except DriverError as error:
            away.append(away_from(look.queue.id, error))
        else:
            seen.append((look, facts))
    told: list[Explanation] = []
    for look, facts in seen:
        try:
            told.append(explain(await look.ask_workers(facts)))
        except DriverError as error:
            away.append(away_from(look.queue.id, error))
    return without(away, told, id)


def look_for_application(live: Assembly, clock: Clock, queue: str, id: str) -> Look:
    """Looks with the rights of the application. Raises PolicyDeniedError, QueueNotFoundError."""
    found = live.queue_of_application(queue)
    other = found.policy.dead_letter
    letters = live.queue_of_application(other) if other is not None and other in live.queues else None
    return Look(live, clock, found, id, letters)


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search among the waiting messages has found: the message at ``place``, or nothing among this many."""

    message: Message | None
    place: int
    searched: int


@dataclass(frozen=True, slots=True)
class Look:
    """Looks at a message of one queue; ``queue`` and ``letters`` check the rights of who looks."""

    live: Assembly
    clock: Clock
    queue: Queue
    id: str
    letters: Queue | None = None
    """The queue of its dead letters; None: there is none, or it is not looked into."""
    searched: Searched | None = None
    """By who has looked already; a queue with an order per key is looked through again, for the one before it."""
    is_name: bool = False
    """It was asked for by the name of a letter: the facts about its id may be about another message."""

    async def plainly(self) -> Facts:
        """All but what the workers must be asked for. Raises PolicyDeniedError, DriverError."""
        live, queue = self.live, self.queue
        state = live.state_of(queue.id)
        facts = Facts(
            self.clock.time(), self.id, queue.id, queue.driver.name,
            can_look=queue.driver.capabilities.has("peek"), limit=queue.spec.limit or queue.policy.worker_limit,
            lease=queue.spec.lease, knows_workers=state is not None,
            lane_limit="" if queue.spec.lane_limit is None else self._lane_limit(),
        )  # fmt: skip
        if state is None:
            return replace(await self._at_broker(facts), consumers=self._consumers({}))
        if not await self._exists():
            return replace(facts, is_missing=True, consumers=self._consumers({}))
        store = await state.store()
        orders = await pauses.find_all(state, "")
        name = queue.spec.name
        pause = orders.get(pause_key("queue", name))
        facts = replace(
            facts, attempts=await read_attempts(store, name, self.id),
            now=await store.time(),
            pause=None if pause is None else read_pause(pause),
            consumers=self._consumers(orders),
            known=None if self.is_name else await know(live, queue.id, self.id),
            is_cancelled=await is_cancelled(state, name, self.id),
            sleeps=await self._sleeps(store),
            workers=await self._workers(),
        )  # fmt: skip
        return await self._at_broker(facts)

    async def ask_workers(self, facts: Facts) -> Facts:
        """The same with what the flight recorders of the workers tell. Raises DriverError."""
        return self.answered(facts, await self.ask(facts))

    async def ask(self, facts: Facts) -> Answers:
        """Ask the workers of the queue; it takes ``PATIENCE`` if one does not answer. Raises DriverError."""
        state = self.live.state_of(self.queue.id)
        wanted: dict[str, set[str]] = {}
        for work in facts.workers:
            wanted.setdefault(work.worker, set()).add(work.consumer.id)
        if state is None or not wanted:
            return {}
        store = await state.store()
        answers = await asyncio.gather(*(self._ask(store, worker, ids) for worker, ids in wanted.items()))
        return dict(zip(wanted, answers, strict=True))

    def answered(self, facts: Facts, answers: Answers) -> Facts:
        """The facts with these answers."""
        workers = [
            replace(work, events=answers.get(work.worker, {}).get(work.consumer.id, ())) for work in facts.workers
        ]
        facts = replace(facts, workers=workers, lives=lives_of(self.id, workers))
        # A broker that does not count exactly shows what other processes hold among the messages that wait.
        is_shown_held = not self.queue.driver.capabilities.has("exact_depth") and facts.is_with_worker
        return replace(facts, message=None, place=0) if is_shown_held else facts

    async def _ask(self, store: Store, worker: str, consumers: set[str]) -> dict[str, Events]:
        own = [each for each in self._consuming() if each.id in consumers]
        if worker == _here() and own:  # a desk beside the worker has consumers that do not run, and asks as others do
            return {each.id: as_dicts(each.recent(), self.clock) for each in own}
        host, _, pid = worker.rpartition(":")
        return await ask(store, WorkerAddress(host, int(pid)), consumers, NEWEST, PATIENCE)

    async def _exists(self) -> bool:
        try:
            await self.queue.depth()
        except QueueNotFoundError:
            return False
        return True

    async def _at_broker(self, facts: Facts) -> Facts:
        try:
            facts = replace(facts, depth=await self.queue.depth())
        except QueueNotFoundError:
            return replace(facts, is_missing=True)
        if facts.can_look:
            facts = await self.find(facts)
        return await self._letter(facts) if facts.message is None else facts

    def _with(self, facts: Facts, message: Message, place: int) -> Facts:
        tells = isinstance(message, Waiting) and self.queue.driver.capabilities.has("transfer")
        delay = message.delay if isinstance(message, Waiting) and tells else None
        return replace(facts, message=message, place=place, delay=delay, lane=self._lane(message))

    async def find(self, facts: Facts) -> Facts:
        """The facts with the message, if it is among those that wait. Raises QueueNotFoundError, DriverError."""
        known = self.searched
        if known is not None and known.message is None:
            return replace(facts, searched=known.searched, is_bounded=known.searched >= DEEPEST)
        if known is not None and known.message is not None and self.queue.spec.ordering != "key":
            return self._with(facts, known.message, known.place)
        before: dict[object, str] = {}
        at = 0
        while at < DEEPEST:
            page = await self.queue.peek(min(_PAGE, self.queue.driver.capabilities.max_batch), at)
            for number, message in enumerate(page, at):
                key = message.headers.get(PARTITION_KEY) if self.queue.spec.ordering == "key" else None
                if message.id == self.id:
                    near = before.get(key, "") if key is not None else ""
                    found = replace(self._with(facts, message, number), before=near)
                    return replace(found, key="" if key is None else str(key))
                before[key] = message.id
            if not page:
                return replace(facts, searched=at)
            at += len(page)
        return replace(facts, searched=at, is_bounded=True)

    async def _letter(self, facts: Facts) -> Facts:
        """Its dead letter, if the dead-letter queue shows it."""
        letters = self.letters
        if letters is None:
            return facts
        if not letters.driver.capabilities.has("peek"):
            return replace(facts, unseen_letters=letters.id)
        try:
            found = await Look(self.live, self.clock, letters, self.id).find(Facts(facts.now, self.id, letters.id))
        except QueueNotFoundError:
            return facts
        known = facts.attempts if found.message is None else records_in(found.message) or facts.attempts
        return replace(facts, letter=found.message, dead_letters=letters.id, attempts=known)

    def _lane(self, message: Message) -> str:
        rule = self.queue.policy.lanes
        if rule is None:
            return ""
        return rule.of_sent_on(Outgoing(message.id, message.body, message.headers), self.queue.decode)

    def _lane_limit(self) -> str:
        lane, rule = self.queue.spec.lane_limit, self.queue.policy.lanes
        assert lane is not None
        of = "key" if rule is None or rule.path is None else rule.path.text
        return f"{limit_text(lane)} for each {of}"

    async def _sleeps(self, store: Store) -> list[tuple[str, float]]:
        found = await store.get(run_key(self.queue.spec.name, self.id))
        try:
            return [] if found is None else [(pause.name, pause.until) for pause in decode_run(found.value).pauses]
        except HandlerError:  # another version wrote it
            return []

    def _consumers(self, orders: dict[str, bytes]) -> list[Declared]:
        configs = self.live.project.of(ConsumerConfig)
        return [self._declared(id, orders) for id, config in configs.items() if config.queue == self.queue.id]

    def _declared(self, id: str, orders: dict[str, bytes]) -> Declared:
        guard = self.live.rights.consumer(id)
        denied = ""
        if guard is not None:
            decision = guard.decide("queue.consume.queue", self.queue.id)
            by = f"policy {decision.policy!r}" if decision.policy else decision.why
            denied = "" if decision.allowed else f"consumer {id} may not consume from queue {self.queue.id}: {by}"
        if (value := orders.get(pause_key("consumer", id))) is not None:
            return Declared(id, denied, read_pause(value))
        scale = None if (value := orders.get(scale_key(id))) is None else read_scale(value)
        is_off = scale is not None and scale.concurrency == 0
        return Declared(id, denied, Pause(scale.at, None, scale.actor, "scaled to 0") if scale and is_off else None)

    def _consuming(self) -> list[Consumer]:
        """The consumers of the queue that run in this app."""
        consumers = self.live.consumers.values()
        return [each for each in consumers if each.queue.id == self.queue.id and each.now.is_consuming]

    async def _workers(self) -> list[AtWork]:
        """The consumers of the queue in all processes: this one as it is, the others by their last signs."""
        state = self.live.state_of(self.queue.id)
        assert state is not None
        now = await (await state.store()).time()
        here = self._consuming()
        present = [Describer(__version__, self.clock)(here, now)] if here else []
        if state.driver.capabilities.multi_process:
            present += [each for each in await workers_of([state]) if not here or _name(each) != _here()]
        return [
            AtWork(_name(worker), worker.seen, consumer)
            for worker in present
            for consumer in worker.consumers
            if consumer.queue == self.queue.spec.name
        ]


def _name(worker: Presence) -> str:
    return f"{worker.host}:{worker.pid}"


def _here() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
