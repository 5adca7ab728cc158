"""The driver: checks each call, and passes it to the session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasuki.clock import Clock, SystemClock
from tasuki.contracts.driver import (
    Capabilities,
    Depth,
    Driver,
    Durability,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
)
from tasuki.drivers.sqs.envelope import LARGEST_BINARY
from tasuki.drivers.sqs.limits import DEDUP_WINDOW, check
from tasuki.drivers.sqs.settings import SQSSettings, is_amazon
from tasuki.drivers.sqs.source import Source
from tasuki.drivers.toolkit.guard import Guard, not_declared
from tasuki.drivers.toolkit.results import answer, check_bounds
from tasuki.errors import DriverError

if TYPE_CHECKING:
    from tasuki.drivers.sqs.session import Session


class SQSDriver(Driver):
    """Keeps queues at SQS; see the table of the package.

    Args:
        name: the entry's id.
        settings: where and as whom to connect, and what new queues are made with.
        clock: the time.
    """

    capabilities = Capabilities(
        "node",
        frozenset({"ordering_key", "leases", "dedup"}),
        dedup_window=DEDUP_WINDOW,
        emulates=frozenset({"counts_attempts"}),
        max_batch=100,
        max_message_bytes=LARGEST_BINARY,
    )

    def __init__(self, name: str, settings: SQSSettings, clock: Clock | None = None) -> None:
        # Here and not above: the class can be looked at without the client, and a missing client shows at once.
        from tasuki.drivers.sqs.session import Session

        super().__init__(name)
        self._new_session = Session
        self._settings = settings
        self._clock = clock or SystemClock()
        self._specs: dict[str, QueueSpec] = {}
        self._guard: Guard[Session] = Guard(name)

    @property
    def durability(self) -> Durability:
        """``node`` at Amazon; what another server at ``endpoint`` keeps is not known: ``process``."""
        return "node" if is_amazon(self._settings) else "process"

    async def open(self) -> None:
        """Connect, and declare the earlier queues again."""
        async with self._guard.changing():
            if self._guard.current is not None:
                return
            session = self._new_session(self.name, self._settings, self._clock)
            try:
                await session.open(list(self._specs.values()))
                self._guard.opened(session)
            finally:
                if self._guard.current is None:
                    await session.close()

    async def close(self) -> None:
        """Wait shortly for running requests, release held messages, and close the connections."""
        async with self._guard.changing():
            session = self._guard.current
            self._guard.closed()
            if session is not None:
                await session.close()

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue exist; of one that exists only the attributes change that its options name.

        The lease of this driver is the spec's.
        """
        check(spec, self.name)
        session = self._guard.current
        if session is not None:
            await session.declare(spec)
        self._specs[spec.name] = spec

    async def undeclare(self, queue: str) -> None:
        """Forget it; the polls under way come to their end."""
        self._specs.pop(queue, None)
        session = self._guard.current
        if session is not None:
            await session.undeclare(queue)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """Find it; of SQS's own attributes those are read that the options name."""
        session = self._guard.get(spec.name)
        return spec if spec.name in self._specs else await session.inspect(spec)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        """Send the messages in batches of ten, several at a time."""
        session, source = self._source(queue)
        check_bounds(batch, driver=self.name, queue=queue)
        return answer(await session.publishing.publish(source, batch))

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take messages; a cancelled call takes none, whatever SQS answers to it."""
        session, source = self._source(queue)
        return await session.polling(source).receive(limit, wait) if limit > 0 else []

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """Move suspects to where SQS counts their starts; goes on when the caller is cancelled."""
        session, source = self._held(queue)
        return await session.shielded(session.suspects(source).start(batch)) if batch else ()

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """End deliveries; goes on when the caller is cancelled."""
        session, source = self._held(queue)
        return await session.shielded(session.settling.settle(source, batch)) if batch else ()

    def counts_releases(self, queue: str, receipt: Receipt) -> bool:
        """In a FIFO queue, for a message with a key: a copy would lose its place, and SQS counts each delivery."""
        from tasuki.drivers.sqs.settling import is_bound
        from tasuki.drivers.sqs.source import Held

        return isinstance(receipt, Held) and is_bound(self._source(queue)[1], receipt)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Set the leases, with a client of the calling loop."""
        session, source = self._held(queue)
        return await session.settling.extend(source, batch, lease) if batch else ()

    async def depth(self, queue: str) -> Depth:
        """What SQS thinks it has."""
        session, source = self._source(queue)
        return await session.depth(source)

    async def delete(self, queue: str) -> None:
        """Remove the queue; SQS refuses to make one of the same name for the next minute."""
        session, source = self._source(queue)
        await session.delete(source)
        self._specs.pop(queue, None)

    def _held(self, queue: str) -> tuple[Session, Source]:
        """For what ends or keeps open deliveries: also of a queue that is not declared any more."""
        session = self._guard.get(queue)
        if queue in session.undeclared:
            return session, session.undeclared[queue]
        return self._source(queue)

    def _source(self, queue: str) -> tuple[Session, Source]:
        session = self._guard.get(queue)
        source = session.sources.get(queue)
        if source is None:
            raise not_declared(self.name, queue)
        return session, source
