"""The driver: the contract's verbs; the client, and all that needs it, is imported when one is made."""

from __future__ import annotations

from collections.abc import Sequence

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
from tasuki.drivers.nats.settings import NATSSettings
from tasuki.errors import DriverError
from tasuki.message import Message


class NATSDriver(Driver):
    """Keeps queues in JetStream; see the table of the package.

    Args:
        name: the entry's id.
        settings: where the servers are, who we are, and how long to wait.
        clock: the time.
    """

    capabilities = Capabilities(
        durability="node",
        multi_process=True,
        ordered=True,
        ordering_key=True,
        native_delay=True,
        native_priority=True,
        declares_priorities=True,
        counts_attempts=True,
        leases=True,
        exact_depth=False,
        peek=True,
        keeps_errors=True,
        purge=True,
        counts_consumers=True,
        max_length=True,
        dedup=True,
        delete=True,
        emulates=frozenset({"native_delay", "native_priority", "ordering_key", "counts_consumers", "purge"}),
        max_batch=1000,
        max_message_bytes=8 * 2**20,
    )

    def __init__(self, name: str, settings: NATSSettings, clock: Clock | None = None) -> None:
        super().__init__(name)
        from tasuki.drivers.nats.credentials import client_options
        from tasuki.drivers.nats.session import Session

        options = {"name": settings.connection_name, **client_options(name, settings)}
        most = self.capabilities.max_message_bytes or 0
        self._session = Session(name, settings, options, most, clock or SystemClock())

    @property
    def durability(self) -> Durability:
        """By the storage, the replicas and the server's syncing, as far as it is known."""
        return self._session.durability

    def durability_of(self, queue: str) -> Durability:
        """By what the queue's stream was made with: its storage and its replicas."""
        return self._session.durability_of(queue)

    async def open(self) -> None:
        """Connect, and declare the earlier queues again."""
        await self._session.open()

    async def close(self) -> None:
        """Release held messages, and disconnect."""
        await self._session.close()

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue's stream and consumers; the last declaration wins for all processes."""
        await self._session.declare(spec)

    async def undeclare(self, queue: str) -> None:
        """Forget the queue in this process; held messages can be settled while their lease lasts."""
        await self._session.undeclare(queue)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """Know a queue as its stream says; nothing is made or changed."""
        return await self._session.inspect(spec)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        """Send all at once; done when the server has stored all."""
        return await self._session.publish(queue, batch)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take messages; release the messages of a cancelled caller."""
        return await self._session.receive(queue, limit, wait)

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """Note in the book that these handlers begin."""
        return await self._session.start(queue, batch)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """End deliveries; done when the server says so."""
        return await self._session.settle(queue, batch)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Set the leases, over a connection of its own; safe in any thread with a loop."""
        return await self._session.extend(queue, batch, lease)

    async def depth(self, queue: str) -> Depth:
        """Count; see the table of the package."""
        return await self._session.depth(queue)

    async def attach(self, queue: str, consumers: int) -> None:
        """Note the number at the server; it is renewed every two seconds."""
        await self._session.attach(queue, consumers)

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        """Show waiting messages: ready ones in their order, then hidden ones by their time."""
        return await self._session.peek(queue, limit, after)

    async def purge(self, queue: str) -> int:
        """Remove all messages but the held ones."""
        return await self._session.purge(queue)

    async def delete(self, queue: str) -> None:
        """Remove the stream; a process that still has it declared makes it again when it uses it."""
        await self._session.delete(queue)
