"""The driver: the verbs of the contract, each one script on the server."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from tasuki.clock import Clock, SystemClock
from tasuki.contracts.driver import (
    Answers,
    Depth,
    Driver,
    Durability,
    Move,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
    Transfer,
)
from tasuki.drivers.redis import durability_wait, scripts
from tasuki.drivers.redis.batches import (
    MAX_MOVED,
    NOT_TRIED,
    Part,
    Publishing,
    Settling,
    microseconds,
    move_refusal,
    moving,
    publishing,
    readable,
    settled_together,
    shown_at,
)
from tasuki.drivers.redis.capabilities import CAPABILITIES
from tasuki.drivers.redis.connecting.addresses import addresses
from tasuki.drivers.redis.errors import LinkLostError, ReplyError
from tasuki.drivers.redis.opening import Opening, Queues
from tasuki.drivers.redis.receiving import Receiver
from tasuki.drivers.redis.scripts import Place, place
from tasuki.drivers.redis.session import Session
from tasuki.drivers.redis.settings import RedisSettings
from tasuki.drivers.redis.state.store import RedisStore
from tasuki.drivers.redis.transferring import FIRST, find, fitting, place_in, refusal, show, transfer
from tasuki.drivers.toolkit.guard import KnownQueues
from tasuki.drivers.toolkit.results import FULL, Outcome, Transfers, answer, check_bounds, full, move_together
from tasuki.errors import BrokerUnavailableError, DriverError, UnsupportedError
from tasuki.message import Message

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.link import Word

PURGED = 200
"""Messages that one script of a purge examines, so that other scripts are not locked out."""
_inherited: list[Opening] = []
"""A parent process's, in a forked child: never freed, as that would close what both processes share."""


class RedisDriver(Driver):
    """Keeps queues at Redis or Valkey; see the table of the package.

    Args:
        name: the entry's id.
        settings: where the server is, who we are, and how long to wait.
        clock: the time of this process, for waiting; the times of messages are the server's.
    """

    capabilities = CAPABILITIES

    def __init__(self, name: str, settings: RedisSettings, clock: Clock | None = None) -> None:
        super().__init__(name)
        try:
            found = addresses(settings)
        except OSError as problem:
            raise UnsupportedError(
                f"driver {name!r}: a file of tls cannot be used: {problem}", driver=name
            ) from problem
        self._prefix = settings.prefix
        known: KnownQueues[Place] = KnownQueues(name)
        self._new_session = partial(Session, name, found, settings, known)
        self._new_receiver = partial(Receiver, clock=clock or SystemClock(), claim_interval=settings.claim_interval)
        self._begin()

    def _begin(self) -> None:
        self._session = self._new_session()
        self._receiver = self._new_receiver(self._session)
        self._queues = Queues(self._session, self._receiver.hear_no_more)
        self._opening = Opening(self._session, self._queues, self._receiver)

    @property
    def durability(self) -> Durability:
        """By the configuration of the servers that answer now; before the first ``open`` the least that any has."""
        return self._session.durability()

    def durability_of(self, queue: str) -> Durability:
        """By the configuration of the server that has the queue now."""
        return self._session.durability(queue)

    async def open(self) -> None:
        """Connect, read the servers' configuration, and declare the earlier queues again.

        A forked child starts from the beginning, with the queues that its parent had declared.
        """
        if self._session.is_inherited:
            _inherited.append(self._opening)
            self._begin()
        await self._opening.open()

    async def close(self) -> None:
        """Release held messages, and close the connections."""
        await self._opening.close()

    async def time(self) -> float | None:
        """The clock of the server; of the one that has the first slot of a cluster."""
        try:
            seconds, micros = await self._session.nodes("").call(0, "TIME")
        except (LinkLostError, ReplyError):
            return None
        return int(seconds) + int(micros) / 1e6

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue exist at the server; its options hold for all processes, the last declaration wins."""
        await self._queues.declare(place(self._prefix, spec))

    async def undeclare(self, queue: str) -> None:
        """Forget the queue in this process."""
        self._queues.undeclare(queue)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """Know the queue as it is at the server, with the options that are in force there."""
        return await self._queues.inspect(place(self._prefix, spec))

    async def delete(self, queue: str) -> None:
        """Remove the queue's keys."""
        await self._queues.delete(queue)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        """Store the messages for which there is room: in one script, unless they are large together."""
        spec = self._session.place(queue).spec
        is_unique = check_bounds(batch, driver=self.name, queue=queue, unique=self.capabilities.unique)
        most = self.capabilities.max_message_bytes or 0
        in_one_memory = not self._session.is_cluster
        work = publishing(spec, batch, driver=self.name, most=most, in_one_memory=in_one_memory, is_unique=is_unique)
        for number, part in enumerate(work.parts):
            try:
                stored = await self._store(queue, work, part, is_unique=is_unique)
            except DriverError as error:
                work.reject(part.indexes, error)
                self._reject_rest(work, number, error)
                break
            if stored < len(part.indexes):
                no_room = full(queue, spec.max_length, driver=self.name)
                work.reject(part.indexes[stored:], no_room)
                self._reject_rest(work, number, no_room)
                break
        return answer(work.results)

    async def _store(self, queue: str, work: Publishing, part: Part, *, is_unique: bool) -> int:
        """How many messages of a part, from the first on, found room."""
        if not is_unique:
            return int(await self._session.publish(queue, scripts.PUBLISH, *part.words))
        answers = await self._session.publish(queue, scripts.PUBLISH_UNIQUE, *part.words)
        work.note(part, answers)
        return len(answers)

    def _reject_rest(self, work: Publishing, number: int, error: DriverError) -> None:
        """The messages after a failed part were not sent, and so not stored."""
        rest = [index for part in work.parts[number + 1 :] for index in part.indexes]
        if rest:
            kind = BrokerUnavailableError if error.outcome == "unknown" else type(error)
            work.reject(rest, kind(str(error), driver=self.name, queue=error.queue))

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take messages; release the messages of a cancelled caller."""
        return await self._receiver.receive(queue, min(limit, self.capabilities.max_batch), wait)

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """Note at the server that handlers begin, which counts until the settlement."""
        return await self._stale(queue, batch, scripts.START)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """End deliveries."""
        if not batch:
            return []
        session = self._session
        where = session.place_of_deliveries(queue)
        stale: list[Receipt] = []
        for work in [Settling(part, driver=self.name, queue=queue) for part in settled_together(where.spec, batch)]:
            stale += work.stale(await session.finish(where, scripts.SETTLE, *work.words))
            session.held.forget(queue, work.receipts)
        return stale

    async def move(self, queue: str, batch: Sequence[Move]) -> Sequence[DriverError | None]:
        """Store and ack in one script, for each queue that something goes to; else publish, then ack."""
        session = self._session
        session.place_of_deliveries(queue)

        def refuse(move: Move) -> DriverError | None:
            try:
                target = session.place(move.to)
            except DriverError as error:
                return error
            return move_refusal(target.spec, move, driver=self.name, most=self.capabilities.max_message_bytes or 0)

        async def run(to: str, moves: Sequence[Move]) -> Sequence[Outcome]:
            if not self.is_move_atomic(queue, to):
                return await self._publish_then_ack(queue, moves)
            outcomes: list[Outcome] = [*await session.move(queue, to, moving(moves))]
            ended = [
                move.receipt for move, outcome in zip(moves, outcomes, strict=True) if outcome not in {FULL, NOT_TRIED}
            ]
            session.held.forget(queue, ended)
            left = [index for index, outcome in enumerate(outcomes) if outcome == NOT_TRIED]
            later = await self._publish_then_ack(queue, [moves[index] for index in left])
            for index, outcome in zip(left, later, strict=True):
                outcomes[index] = outcome
            return outcomes

        return await move_together(self.name, queue, batch, refuse=refuse, run=run, most=MAX_MOVED)

    async def _publish_then_ack(self, queue: str, moves: Sequence[Move]) -> Sequence[DriverError | None]:
        return await super().move(queue, moves) or [None] * len(moves)

    def is_move_atomic(self, queue: str, to: str) -> bool:
        """Not where the queues are at different servers of a cluster, or a publish waits for the disk or replicas."""
        source, target = self._session.known.find(queue), self._session.known.find(to)
        if source is None or target is None or durability_wait.demand(target.spec):
            return False
        return not self._session.is_cluster or source.slot == target.slot

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Set the leases; in any thread with a loop, which gets its own connection."""
        if not 0 <= lease < inf:
            problem = f"a lease of {lease} seconds: give 0 or more, and a finite number"
            raise UnsupportedError(problem, driver=self.name, queue=queue)
        stale = await self._stale(queue, batch, scripts.EXTEND, microseconds(lease))
        self._session.held.forget(queue, stale)
        if len(stale) < len(batch):
            where = self._session.place_of_deliveries(queue)
            self._receiver.listener.keep(where, self._session.nodes(queue).server(where.slot))
        return stale

    async def _stale(
        self, queue: str, batch: Sequence[Receipt], script: scripts.Script, *words: Word
    ) -> Sequence[Receipt]:
        """Which of these deliveries a script found ended."""
        if not batch:
            return []
        where = self._session.place_of_deliveries(queue)
        return [batch[number - 1] for number in await self._session.finish(where, script, *words, *readable(batch))]

    async def depth(self, queue: str) -> Depth:
        """Count the messages, exactly."""
        ready, held, delayed, age = await self._session.ask(queue, scripts.DEPTH)
        return Depth(ready, held, delayed, None if age < 0 else age / 1_000_000)

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        """Show waiting messages: receivable ones in order, those behind their key, delayed ones by their time."""
        messages: list[Message] = []
        on: Sequence[Word] = ("ready", after, "")
        fits = FIRST
        while len(messages) < limit and on[0]:
            size = min(limit - len(messages), self.capabilities.max_batch, fits)
            *found, section, skip, line = await self._session.ask(queue, scripts.PEEK, size, *on)
            on = section, skip, line
            fits = fitting(len(found[1]), sum(len(content) for content in found[1] if content is not None))
            messages += [shown_at(*each) for each in zip(*found, strict=True) if each[1]]
        return messages

    async def find(self, queue: str, ids: Collection[str]) -> list[Message]:
        """Search the messages, in several scripts."""
        return await show(self._session, queue, ids)

    async def purge(self, queue: str) -> int:
        """Remove all messages but the held ones, in several scripts; a message published meanwhile stays."""
        removed = 0
        on: Sequence[Word] = ("", "ready", "0")
        while on[1]:
            more, *on = await self._session.ask(queue, scripts.PURGE, PURGED, *on)
            removed += more
        return removed

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        """Search the messages, in several scripts."""
        named: list[Word] = [len(places), *map(place_in, places)]
        wanted = [*named, *(id.encode(errors="replace") for id in ids)]
        removed, on = await self._session.ask(queue, scripts.REMOVE, PURGED, "0", *wanted)
        while on != b"0":
            more, on = await self._session.ask(queue, scripts.REMOVE, PURGED, on, *wanted)
            removed += more
        return int(removed)

    async def expedite(self, queue: str, ids: Collection[str]) -> int:
        """Search the delayed messages, in several scripts."""
        wanted = [id.encode(errors="replace") for id in ids]
        count, on = await self._session.ask(queue, scripts.EXPEDITE, PURGED, "0", *wanted)
        while on != b"0":
            more, on = await self._session.ask(queue, scripts.EXPEDITE, PURGED, on, *wanted)
            count += more
        return int(count)

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Sequence[DriverError | None]:
        """Take out and store in one script for each target, after a search for messages that were not shown."""
        session = self._session
        session.place(queue)
        refuse = partial(refusal, session, queue, self.capabilities.max_message_bytes or 0)
        transfers: Transfers[bytes] = Transfers(self.name, queue, batch, refuse)
        return await transfers.run(place_in, partial(find, session, queue), partial(transfer, session, queue))

    def can_transfer(self, queue: str, to: str) -> bool:
        """Not where the queues are in two slots of a cluster; their names say so, also of one that is not declared."""
        if not self._session.is_cluster:
            return True
        source, target = (place(self._prefix, QueueSpec(name)) for name in (queue, to))
        return source.slot == target.slot

    def store(self, name: str) -> RedisStore:
        """A store at the server; all its keys are in one hash slot."""
        return RedisStore(name, self.name, self._prefix, lambda: self._session)
