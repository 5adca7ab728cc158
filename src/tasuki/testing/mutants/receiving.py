"""Mutants of receives, attempts, suspects and searches, and of receipts from before the broker's data was put back."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import ClassVar

from msgspec.structs import replace

from tasuki.contracts.driver import Ack, Driver, Nack, Receipt, Received, Release, Settlement, Where
from tasuki.message import Message
from tasuki.testing.mutants.mutant import Mutant, MutantTable

_TABLE = MutantTable(__name__)
instead, receives = _TABLE.instead("receive"), _TABLE.answer("receive")

instead(
    "LimitIsIgnored",
    "test_03_at_most_limit_and_an_empty_receive_waits",
    lambda real, queue, limit, wait: real.receive(queue, limit + 1, wait),
)
instead(
    "WaitIsIgnored",
    "test_03_at_most_limit_and_an_empty_receive_waits",
    lambda real, queue, limit, wait: real.receive(queue, limit, 0.0),
)
receives("OrderIsTurnedRound", "test_12_one_publishers_order_is_kept", lambda taken: taken[::-1])
receives(
    "AttemptIsAlwaysOne",
    "test_08_attempts_rise_and_a_release_does_not_count",
    lambda taken: [replace(each, attempt=1) for each in taken],
)
receives(
    "EveryDeathCounts",
    "test_28_a_suspect_that_never_started_is_not_charged",
    lambda taken: [replace(each, attempt=each.attempt + each.suspect) for each in taken],
)
receives(
    "NothingIsSuspected",
    "test_20_attempts_survive_a_kill_and_a_restart",
    lambda taken: [replace(each, suspect=False) for each in taken],
)
receives(
    "EverythingIsSuspected",
    "test_28_a_released_message_is_no_suspect",
    lambda taken: [replace(each, suspect=True) for each in taken],
)
_TABLE.given("start")(
    "StartsAreNotRecorded", "test_28_only_the_recorded_starts_of_a_killed_holder_count", lambda receipt: None
)
_TABLE.answer("find")(
    "FindShowsOneOfAnId",
    "test_51_each_message_of_an_id_wherever_it_waits",
    lambda found: [*{message.id: message for message in found}.values()],
)
_TABLE.answer("locate")(
    "LocateMissesHeldMessages",
    ("test_59_a_message_is_located_wherever_it_is", "test_59_a_message_behind_its_key_is_ready"),
    lambda found: {id: where for id, where in found.items() if where != "held"},
)
_TABLE.answer("locate")(
    "LocateTakesDelayedForReady",
    "test_59_a_delayed_message_is_told_apart",
    lambda found: {id: "ready" if where == "delayed" else where for id, where in found.items()},
)


_LONG = 3600.0
"""Seconds for which a message stays away."""


_LATE = 2.5
"""Seconds that are too many for a message that is ready."""


class NothingIsHeld(Mutant):
    noticed_by = ("test_04_a_message_is_with_one_receiver",)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await self.inner.receive(queue, limit, wait)
        if taken:
            await self.inner.settle(queue, [Release(item.receipt) for item in taken])
        return taken


class CancelledReceiveLoses(Mutant):
    noticed_by = ("test_16_a_cancelled_receive_loses_nothing", "test_a_cancelled_waiter_passes_its_message_on")

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await self.inner.receive(queue, limit, wait)
        await asyncio.sleep(0.002)  # whatever it waits for, with what it took in its hands
        return taken


class PollsNowAndThen(Mutant):
    noticed_by = ("test_another_driver_sees_a_message_soon",)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        end = asyncio.get_running_loop().time() + wait
        while True:
            taken = await self.inner.receive(queue, limit, 0.0)
            left = end - asyncio.get_running_loop().time()
            if taken or left <= 0:
                return taken
            await asyncio.sleep(min(left, _LATE))


class GoesOnWaitingUnasked(Mutant):
    """What wakes a process whose receive has ended is lost for a while.

    Not at a broker that pushes: it gives such a receive one message, and goes on with the next process.
    """

    noticed_by = ("test_a_driver_that_waits_no_more_keeps_no_message_from_another",)
    needs = "leases"

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        task = asyncio.create_task(self.inner.receive(queue, limit, wait))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self.late = asyncio.create_task(self._release_late(queue, task))
            raise

    async def _release_late(self, queue: str, task: asyncio.Task[list[Received]]) -> None:
        taken = await task
        await asyncio.sleep(_LATE)
        await self.inner.settle(queue, [Release(item.receipt) for item in taken])


class TheDeadKeepTheirMessages(Mutant):
    noticed_by = ("test_61_a_killed_holder_is_seen_and_a_silent_one_keeps_its_messages",)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await self.inner.receive(queue, limit, wait)
        await self.inner.settle(queue, [Release(item.receipt, _LONG) for item in taken if item.suspect])
        return [item for item in taken if not item.suspect]


class AStartCountsBesideItsNack(Mutant):
    noticed_by = ("test_28_a_start_counts_once_with_its_nack_and_not_with_its_release",)

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        return ()

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        self.seen = getattr(self, "seen", 0)
        taken = await self.inner.receive(queue, limit, wait)
        self.seen += len(taken)
        return [replace(item, attempt=self.seen) for item in taken]


class FindTakesWhatItShows(Mutant):
    noticed_by = ("test_51_find_shows_without_receiving",)

    async def find(self, queue: str, ids: Collection[str]) -> list[Message]:
        found = await self.inner.find(queue, ids)
        await self.receive(queue, 1, 0.0)
        return found


class FindShowsHeldMessages(Mutant):
    noticed_by = ("test_51_held_messages_are_not_shown", "test_51_a_message_behind_its_key_too")

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._held: list[Received] = []

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await self.inner.receive(queue, limit, wait)
        self._held += taken
        return taken

    async def find(self, queue: str, ids: Collection[str]) -> list[Message]:
        return [*(each for each in self._held if each.id in ids), *await self.inner.find(queue, ids)]


class FindLooksAtTheFirstOnes(Mutant):
    noticed_by = ("test_51_some_among_many",)

    async def find(self, queue: str, ids: Collection[str]) -> list[Message]:
        first = await self.peek(queue, 1000)
        return [message for message in await self.inner.find(queue, ids) if message.id in {each.id for each in first}]


class LocateLooksAtTheFirstOnes(Mutant):
    noticed_by = ("test_59_one_among_many_is_located",)

    async def locate(self, queue: str, ids: Collection[str]) -> dict[str, Where]:
        first = {each.id for each in await self.peek(queue, 1000)}
        found = await self.inner.locate(queue, ids)
        return {id: where for id, where in found.items() if where == "held" or id in first}


class LocateTakesWhatItFinds(Mutant):
    noticed_by = ("test_59_a_message_is_located_wherever_it_is",)

    async def locate(self, queue: str, ids: Collection[str]) -> dict[str, Where]:
        found = await self.inner.locate(queue, ids)
        await self.receive(queue, 1, 0.0)
        return found


class _ReceiptsByNumber(Mutant):
    """An old receipt settles the delivery that has its number now: of the same id, whichever driver holds it."""

    kind: ClassVar[type[Ack] | type[Nack] | type[Release]]
    needs = "multi_process"
    newest: ClassVar[dict[tuple[str, str], tuple[Driver, Receipt]]] = {}

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._ids: dict[Receipt, str] = {}

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        received = await self.inner.receive(queue, limit, wait)
        for each in received:
            self._ids[each.receipt] = each.id
            self.newest[queue, each.id] = self.inner, each.receipt
        return received

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        stale = list(await self.inner.settle(queue, batch))
        for item in batch:
            found = self.newest.get((queue, self._ids.get(item.receipt, "")))
            if item.receipt not in stale or not isinstance(item, self.kind) or found is None:
                continue
            driver, receipt = found
            if receipt != item.receipt and not await driver.settle(queue, [self.kind(receipt)]):
                stale.remove(item.receipt)
        return stale


_OLD = "test_54_a_receipt_from_before_the_data_was_put_back_settles_nothing"
_TABLE.variant(_ReceiptsByNumber, "OldReceiptsAck", _OLD, kind=Ack)
_TABLE.variant(_ReceiptsByNumber, "OldReceiptsNack", _OLD, kind=Nack)
_TABLE.variant(_ReceiptsByNumber, "OldReceiptsRelease", _OLD, kind=Release)


class OldReceiptsExtend(Mutant):
    """The lease of an old receipt is renewed, as the driver does not ask the broker."""

    noticed_by = ("test_54_a_receipt_from_before_the_data_was_put_back_settles_nothing",)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        await self.inner.extend(queue, batch, lease)
        return []
