"""DryDriver: a twin of a driver that has one message, and stores no other; it records what it is asked to do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from tasuki.contracts.driver import (
    Ack,
    Answers,
    Move,
    Nack,
    Outgoing,
    Receipt,
    Release,
    Settlement,
)
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.memory.store import Shelf
from tasuki.errors import DriverError
from tasuki.message import (
    ATTEMPTS,
    DEAD_LETTER_REASON,
    ERROR_TYPE,
    LAST_ERROR,
    LAST_TRACEBACK,
    PLACE,
)
from tasuki.testing.dry_run.connection import rolled_back
from tasuki.testing.dry_run.real import RealStores
from tasuki.testing.dry_run.recorder import Recorder
from tasuki.testing.dry_run.store import DryStore
from tasuki.testing.twin.driver import TwinDriver
from tasuki.testing.twin.transactions import _Open

if TYPE_CHECKING:
    from tasuki.testing.twin.driver import Faults


class DryDriver(TwinDriver):
    """Nothing that is published to it is stored, and every settlement ends the message."""

    def __init__(self, name: str, faults: Faults, real: RealStores, recorder: Recorder) -> None:
        super().__init__(name, faults)
        self._real = real
        self._recorder = recorder
        self._read_keys: dict[str, set[str]] = {}

    async def deliver(self, queue: str, message: Outgoing) -> None:
        """Store the one message."""
        await MemoryDriver.publish(self, queue, [message])

    def store(self, name: str) -> DryStore:
        """A store in memory over the real one."""
        shelf = self._shelves.setdefault(name, Shelf())
        store = DryStore(name, self._guard, shelf, self._faults)
        return store.prepare(self._real, self._recorder, self._read_keys.setdefault(name, set()))

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        """Record them; a dead letter is the end of the message."""
        for message in batch:
            if DEAD_LETTER_REASON in message.headers:
                self._end_as_letter(message)
        self._journal.tell()
        return ()

    def _end_as_letter(self, letter: Outgoing) -> None:
        headers = letter.headers
        self._end(
            "dead_letter",
            reason=headers[DEAD_LETTER_REASON],
            error=headers.get(LAST_ERROR, ""),
            type=headers.get(ERROR_TYPE, ""),
            place=headers.get(PLACE, ""),
            traceback=headers.get(LAST_TRACEBACK, ""),
            attempts=headers.get(ATTEMPTS),
        )

    def _end(self, how: str, **facts: Any) -> None:
        """Tell how the message ends, once: the ack after a dead letter says nothing more."""
        if not self._recorder.is_settled:
            self._recorder.is_settled = True
            self._recorder.tell("outcome", outcome=how, **facts)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """Record the settlement, and forget the message."""
        held = self._held(queue).held
        for settlement in batch:
            if settlement.receipt in held:
                self._end(**_told(settlement))
        rest = await MemoryDriver.settle(self, queue, [Ack(settlement.receipt) for settlement in batch])
        self._journal.tell()
        return rest

    async def move(self, queue: str, batch: Sequence[Move]) -> Sequence[DriverError | None]:
        """Record what follows, and the end."""
        for move in batch:
            await self.publish(move.to, move.messages)
        await self.settle(queue, [Ack(move.receipt) for move in batch])
        return ()

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        """Record it; there is nothing to remove."""
        self._recorder.add("remove", queue=queue, ids=list(ids)[:100])
        return 0

    async def purge(self, queue: str) -> int:
        """Record it."""
        self._recorder.add("purge", queue=queue)
        return 0

    async def expedite(self, queue: str, ids: Collection[str]) -> int:
        """Record it."""
        self._recorder.add("expedite", queue=queue, ids=list(ids)[:100])
        return 0

    async def delete(self, queue: str) -> None:
        """Record it."""
        self._recorder.add("delete", queue=queue)

    def _block(self, connection: Any) -> AbstractAsyncContextManager[Any]:
        """The handler's connection, which is rolled back, or one that only notes its SQL."""
        return rolled_back(connection, lambda sql: self._recorder.add("sql", text=sql))

    async def _commit(self, opened: _Open) -> None:
        self._recorder.add("transaction", is_own=opened.is_given)
        await super()._commit(opened)


def _told(settlement: Settlement) -> dict[str, Any]:
    if isinstance(settlement, Nack):
        return {"how": "retry", "delay": settlement.delay, "error": settlement.error}
    if isinstance(settlement, Release):
        return {"how": "snooze" if settlement.delay > 0 else "release", "delay": settlement.delay}
    return {"how": "ack"}
