"""The driver: each verb is one statement, which calls one function of the schema."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any

from tasuki.clock import Clock, SystemClock
from tasuki.contracts.driver import (
    Ability,
    Answers,
    Capabilities,
    Causes,
    Depth,
    Durability,
    Move,
    Nack,
    Occupancy,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
    Transfer,
    Where,
)
from tasuki.drivers.postgres import browsing
from tasuki.drivers.postgres import columns as rows
from tasuki.drivers.postgres.browsing import expedite, find, locate, purge, remove, show, transfer
from tasuki.drivers.postgres.caller_transaction import Opening, WithinPostgres
from tasuki.drivers.postgres.columns import MAX_BODY, Moving, frees_others, move_refusal
from tasuki.drivers.postgres.connections import Connector, Link, encryption
from tasuki.drivers.postgres.publishing import MOVE, PUBLISH, UNIQUE, publish_in_parts
from tasuki.drivers.postgres.receiving import Occupancies, Receiving, settle
from tasuki.drivers.postgres.session import Session
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.drivers.postgres.state.store import PostgresStore
from tasuki.drivers.toolkit.address import shown
from tasuki.drivers.toolkit.guard import Guard, KnownQueues, not_open
from tasuki.drivers.toolkit.results import FULL, Found, Transfers, move_together, number_in
from tasuki.errors import DriverError
from tasuki.fields.types import revealed
from tasuki.message import Message, is_cause
from tasuki.system.tasks import OnFailure

_ABILITIES: frozenset[Ability] = frozenset({
    "ordered", "ordering_key", "native_priority", "leases", "sees_deaths", "sees_silence", "exact_depth",
    "keeps_errors", "max_length", "dedup", "limits",
})  # fmt: skip
CAPABILITIES = Capabilities(
    "node",
    _ABILITIES,
    unique=UNIQUE,
    max_batch=1000,
    max_message_bytes=MAX_BODY,
)
PURGED = 10_000
"""Messages removed in one transaction of a deletion, so that the others are not locked out."""
CLEAR = "SELECT {}.clear_queue($1, $2)"

START = "SELECT {}.start($1, $2, $3)"

EXTEND = "SELECT {}.extend($1, $2, $3, $4)"

COUNT = "SELECT ready, in_flight, delayed, oldest_age, is_estimate FROM {}.count_messages($1)"

SHOW = rows.SHOWN.format("show_places($1, $2, $3)")


class PostgresDriver(WithinPostgres):
    """Keeps queues in a schema of a PostgreSQL database; see the table of the package.

    Args:
        name: the entry's id.
        settings: where the server is, who we are, and how long to wait.
        clock: the time; only for how long a receive waits. Leases and delays go by the server's clock.

    Raises:
        ImportError: asyncpg is not installed.
    """

    capabilities = CAPABILITIES

    def __init__(self, name: str, settings: PostgresSettings, clock: Clock | None = None) -> None:
        import asyncpg  # noqa: F401 - a missing client is reported here

        super().__init__(name)
        self._settings = settings
        self._url = settings.url.get_secret_value()
        self._listen_url = revealed(settings.listen_url) or self._url
        self._schema = settings.schema_
        self._clock = clock or SystemClock()
        self._known: KnownQueues[QueueSpec] = KnownQueues(name)
        self._commits: dict[str, str] = {}
        """What the last publish to a queue waited for: another process may have declared that."""
        self._guard: Guard[Session] = Guard(name)
        self._occupancies: Occupancies | None = None
        self._connectors: tuple[Connector, Connector] | None = None
        sync_url = self._url if settings.tls is None and encryption(name, self._url, None) is None else None
        timeout = settings.connect_timeout
        self._opening = Opening(name, shown(self._url), self._connect_for_caller, sync_url, timeout)

    @property
    def durability(self) -> Durability:
        """What the commits of the server survive, by its settings as it last told them; see ``durability.Level``."""
        learned = self._connectors[0].level.durability if self._connectors else None
        return learned or self.capabilities.durability

    def durability_of(self, queue: str) -> Durability:
        """As the driver's, but for a queue with a ``synchronous_commit`` of its own."""
        known = self._known.find(queue)
        commit = self._commits.get(queue) or (known and known.options.get("synchronous_commit"))
        learned = self._connectors[0].level.with_commit(commit) if commit and self._connectors else None
        return learned or self.durability

    async def open(self) -> None:
        """Connect; if queues were declared, make missing parts of the schema, and declare them."""
        async with self._guard.changing():
            current = self._guard.current
            if current is not None and current.is_usable:
                return
            if self._connectors is None:
                self._connectors = self._connector(self._url), self._connector(self._listen_url, prepares=False)
            session = Session(self.name, self._settings, *self._connectors, self._known)
            async with OnFailure(session.close):
                await session.open()
            self._guard.opened(session)

    def _connector(self, url: str, *, prepares: bool = True) -> Connector:
        return Connector(
            url,
            tls=encryption(self.name, url, self._settings.tls),
            connect_timeout=self._settings.connect_timeout,
            timeout=self._settings.timeout,
            name=f"tasuki {self.name}",
            synchronous_commit=self._settings.synchronous_commit,
            prepares=prepares,
        )

    async def _connect_for_caller(self) -> Link:
        self._usable_session("")
        assert self._connectors is not None
        return await self._connectors[0].open()

    async def close(self) -> None:
        """Release held messages, and end all connections."""
        await self._opening.close()
        async with self._guard.changing():
            session = self._guard.current
            if session is not None and not session.loop.is_closed():
                await session.close()
            self._guard.closed(session)

    def store(self, name: str) -> PostgresStore:
        """A store in the same schema."""
        return PostgresStore(name, self, self._guard)

    async def time(self) -> float | None:
        """The clock of the server."""
        rows = await self._usable_session("").fetch("", "SELECT extract(epoch FROM clock_timestamp())::float8")
        return float(rows[0][0])

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue exist in the database; its options hold for all processes, the last declaration wins."""
        self._known.declare(spec.name, spec)
        self._commits.pop(spec.name, None)
        session = self._guard.current
        if session is not None:
            await session.declare(spec)

    async def undeclare(self, queue: str) -> None:
        """Forget the queue here; the database keeps it, but a temporary one no longer for this process."""
        forgotten = self._known.forget(queue)
        self._commits.pop(queue, None)
        session = self._guard.current
        if forgotten is None or session is None or not session.is_usable:
            return
        session.forget_queue(queue)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """Know a queue of the database; neither the tables nor the queue are made."""
        found = await self._usable_session(spec.name).inspect(spec)
        self._known.inspect(spec.name, found)
        return found

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        """Store the messages for which there is room, in one transaction, or a few for a batch of many megabytes."""
        session = self._open_session(queue)

        async def store(columns: tuple[Any, ...]) -> Any:
            settings, answer, commit = (await session.store(queue, PUBLISH[len(columns)], queue, *columns))[0]
            session.learn(settings)
            self._commits[queue] = commit
            return answer

        answers = await publish_in_parts(self.name, queue, batch, store, store)
        session.stored(queue)
        return answers

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take messages; release the messages of a cancelled caller."""
        session = self._open_session(queue)
        if limit <= 0:
            return []
        return await Receiving(session, queue, limit, self._known).receive(wait, self._clock)

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """Count the deliveries as failures until they are settled; committed when this returns."""
        session, _ = self._holding_session(queue)
        return await self._missing_of_held(batch, lambda seqs, tokens: session.ask(queue, START, queue, seqs, tokens))

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """End deliveries; committed when this returns."""
        session, spec = self._holding_session(queue)
        if not batch:
            return ()
        return await session.tasks.run(settle(session, queue, batch, frees_others=frees_others(spec)))

    async def move(self, queue: str, batch: Sequence[Move]) -> Sequence[DriverError | None]:
        """Store and ack in one transaction, for each queue that something goes to."""
        session, spec = self._holding_session(queue)

        async def run(to: str, moves: Sequence[Move]) -> Sequence[int]:
            self._open_session(to)
            work = Moving(moves)
            columns = work.arguments()
            settings, answers, commit = (await session.store(to, MOVE[len(columns)], queue, to, *columns))[0]
            session.learn(settings)
            self._commits[to] = commit
            ended = [move.receipt for move, answer in zip(work.moves, answers, strict=True) if answer != FULL]
            session.held.forget(queue, ended)
            session.stored(to)
            if frees_others(spec):
                session.stored(queue)
            return work.outcomes(answers)

        return await move_together(self.name, queue, batch, refuse=partial(move_refusal, self.name), run=run)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Set the leases; from another loop by a connection in its own thread."""
        session, _ = self._holding_session(queue)
        is_ours = asyncio.get_running_loop() is session.loop
        ask = session.ask if is_ours else session.fetch_aside
        return await self._missing_of_held(batch, lambda seqs, tokens: ask(queue, EXTEND, queue, seqs, tokens, lease))

    @staticmethod
    async def _missing_of_held(
        batch: Sequence[Receipt], ask: Callable[[list[int], list[int]], Awaitable[list[Any]]]
    ) -> Sequence[Receipt]:
        """The receipts of which ``ask`` does not answer for the delivery."""
        if not batch:
            return ()
        (seqs, tokens, *_), wanted = rows.settling([Nack(receipt) for receipt in batch])
        missing = set(rows.stale([*wanted.values()], wanted, (await ask(seqs, tokens))[0][0]))
        return [receipt for receipt in batch if receipt not in wanted or receipt in missing]

    async def depth(self, queue: str) -> Depth:
        """Count the rows; estimate them where there are more than some thousands."""
        return Depth(*(await self._open_session(queue).ask(queue, COUNT, queue))[0])

    async def occupancy(self, queue: str) -> Occupancy:
        """Look at the first row of each kind; questions of one moment share a statement."""
        session = self._open_session(queue)
        if self._occupancies is None or self._occupancies.session is not session:
            self._occupancies = Occupancies(session)
        return await self._occupancies.of(queue)

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        """Show waiting messages: receivable ones in order, those behind their key, delayed ones by their time."""
        return [rows.message(row) for row in await self._open_session(queue).ask(queue, SHOW, queue, limit, after)]

    async def find(self, queue: str, ids: Collection[str]) -> list[Message]:
        """Search the queue's messages in one statement."""
        return await show(self._open_session(queue), queue, ids)

    async def locate(self, queue: str, ids: Collection[str]) -> dict[str, Where]:
        """Search the queue's messages in one statement."""
        return await locate(self._open_session(queue), queue, ids)

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        """Count them in one statement."""
        return await browsing.count(self._open_session(queue), queue, most, also)

    async def peek_cause(
        self, queue: str, cause: str, limit: int, after: int = 0, *, newest_first: bool = False
    ) -> list[Message]:
        """Show them in one statement."""
        session = self._open_session(queue)
        if not is_cause(cause):
            return []
        return await browsing.peek(session, queue, cause, limit, after, newest_first=newest_first)

    async def purge(self, queue: str) -> int:
        """Remove the messages that were there and not held when the call began, in several transactions."""
        session = self._open_session(queue)
        assert self._connectors is not None
        return await session.run(queue, purge(session, queue, self._connectors[0]))

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        """Remove what one statement finds, by others."""
        session = self._open_session(queue)
        return await session.run(queue, remove(session, queue, [*ids], frozenset(map(number_in, places))))

    async def expedite(self, queue: str, ids: Collection[str]) -> int:
        """End the delays that one statement finds."""
        session = self._open_session(queue)
        return await session.run(queue, expedite(session, queue, [*ids]))

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Sequence[DriverError | None]:
        """Take out and store in one statement for each target, after a search for messages that were not shown."""
        session = self._open_session(queue)
        transfers: Transfers[int] = Transfers(self.name, queue, batch, partial(rows.refusal, self.name))
        return await transfers.run(number_in, partial(find, session, queue), partial(self._transfer, session, queue))

    async def _transfer(self, session: Session, queue: str, to: str, found: Sequence[Found[int]]) -> list[int]:
        self._open_session(to)
        told, self._commits[to] = await transfer(session, queue, to, found)
        return told

    async def delete(self, queue: str) -> None:
        """Remove the queue and all its rows."""
        session = self._open_session(queue)
        with self._known.forgetting(queue):
            while (await session.ask(queue, CLEAR, queue, PURGED))[0][0]:
                pass  # in several transactions; held messages are few
            number = (await session.ask(queue, "SELECT {}.delete_queue($1)", queue))[0][0]
        self._commits.pop(queue, None)
        session.held.forget_queue(queue)
        session.forget_queue(queue)
        await session.ask(queue, "SELECT {}.delete_rest($1)", number)

    def _open_session(self, queue: str) -> Session:
        """For a queue that is known here."""
        session = self._usable_session(queue)
        self._known.get(queue)
        return session

    def _holding_session(self, queue: str) -> tuple[Session, QueueSpec]:
        """For what ends or keeps deliveries, also of a queue that was undeclared since."""
        session = self._usable_session(queue)
        return session, session.held.get(queue, self._known)

    def _usable_session(self, queue: str) -> Session:
        session = self._guard.get(queue)
        if session.is_closing:
            raise not_open(self.name, queue)
        return session
