"""Moving where the broker has no such step: publish, then ack the stored messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Protocol

from tasuki.contracts.results import Answers, Results, answer
from tasuki.contracts.values import Ack, Capabilities, Merged, Move, Outgoing, Receipt, Settlement, Transfer
from tasuki.errors import DriverError, StaleReceiptError


class _Driver(Protocol):
    """The parts of a :class:`tasuki.contracts.driver.Driver` that publish and ack."""

    name: str
    capabilities: ClassVar[Capabilities]

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers: ...
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]: ...


def stale(receipt: Receipt, *, driver: str, queue: str) -> StaleReceiptError:
    """The answer for a receipt that is not held."""
    problem = f"delivery {receipt!r} of queue {queue!r} has ended already: nothing was moved"
    return StaleReceiptError(problem, driver=driver, queue=queue)


def by_target(batch: Sequence[Move] | Sequence[Transfer], indexes: Iterable[int]) -> dict[str, list[int]]:
    """The indexes of moves or transfers by the queue they go to."""
    targets: dict[str, list[int]] = {}
    for index in indexes:
        targets.setdefault(batch[index].to, []).append(index)
    return targets


async def publish_then_ack(driver: _Driver, queue: str, batch: Sequence[Move]) -> Results:
    """A publish for each queue to which something goes, and one settlement; see ``Driver.move``."""
    results: list[DriverError | None] = [None] * len(batch)
    for to, indexes in by_target(batch, range(len(batch))).items():
        errors = iter(await _publish(driver, to, [message for index in indexes for message in batch[index].messages]))
        for index in indexes:
            mine = [next(errors) for _ in batch[index].messages]
            results[index] = next((error for error in mine if error is not None), None)
    acks = [Ack(move.receipt) for move, error in zip(batch, results, strict=True) if error is None]
    untaken = set(await driver.settle(queue, acks)) if acks else set()
    for index, move in enumerate(batch):
        if results[index] is None and move.receipt in untaken:
            results[index] = stale(move.receipt, driver=driver.name, queue=queue)
    return answer(results)


async def _publish(driver: _Driver, queue: str, messages: Sequence[Outgoing]) -> list[DriverError | None]:
    """One result a message."""
    results: list[DriverError | None] = []
    size = driver.capabilities.max_batch
    for start in range(0, len(messages), size):
        part = messages[start : start + size]
        try:
            answers = await driver.publish(queue, part)
            results += [None if isinstance(each, Merged) else each for each in answers] or [None] * len(part)
        except DriverError as error:
            results += [error] * len(part)
    return results
