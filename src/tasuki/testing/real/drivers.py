"""Drivers whose work a ledger hears of."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from tasuki.contracts.driver import Answers, Driver, Merged, Move, Outgoing, Receipt, Received, Settlement, Transfer
from tasuki.errors import DriverError
from tasuki.testing.real.ledger import Ledger


def noted(driver: Driver, ledger: Ledger) -> Driver:
    """The same driver; it tells the ledger what the broker has confirmed."""
    name, inner_publish, inner_within = driver.name, driver.publish, driver.publish_within
    inner_receive, inner_settle, inner_move = driver.receive, driver.settle, driver.move
    inner_settle_within, inner_transfer = driver.settle_within, driver.transfer

    @functools.wraps(inner_publish)
    async def publish(queue: str, batch: Sequence[Outgoing]) -> Answers:
        errors = await inner_publish(queue, batch)
        ledger.stored((name, queue), _without(batch, errors), _replaced(errors))
        return errors

    @functools.wraps(inner_within)
    async def publish_within(connection: Any, queue: str, batch: Sequence[Outgoing]) -> Answers:
        errors = await inner_within(connection, queue, batch)
        ledger.stored((name, queue), _without(batch, errors), _replaced(errors))
        return errors

    @functools.wraps(inner_settle_within)
    async def settle_within(connection: Any, queue: str, batch: Sequence[Settlement]) -> None:
        await inner_settle_within(connection, queue, batch)
        ledger.settled((name, queue), batch, ())

    @functools.wraps(inner_receive)
    async def receive(queue: str, limit: int, wait: float) -> list[Received]:
        messages = await inner_receive(queue, limit, wait)
        ledger.received((name, queue), messages)
        return messages

    @functools.wraps(inner_settle)
    async def settle(queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        stale = await inner_settle(queue, batch)
        ledger.settled((name, queue), batch, stale)
        return stale

    @functools.wraps(inner_move)
    async def move(queue: str, batch: Sequence[Move]) -> Sequence[DriverError | None]:
        errors = await inner_move(queue, batch)
        ledger.moved((name, queue), _without(batch, errors))
        return errors

    @functools.wraps(inner_transfer)
    async def transfer(queue: str, batch: Sequence[Transfer]) -> Sequence[DriverError | None]:
        errors = await inner_transfer(queue, batch)
        ledger.transferred((name, queue), _without(batch, errors))
        return errors

    replaced: list[Callable[..., Any]] = [publish, publish_within, receive, settle, settle_within, move, transfer]
    for method in replaced:
        setattr(driver, method.__name__, method)
    return driver


def _without(batch: Sequence[Any], answers: Answers) -> list[Any]:
    """The items that the broker has taken; no answers at all mean that it has taken all."""
    return [item for item, answer in zip(batch, answers, strict=True) if _is_taken(answer)] if answers else list(batch)


def _is_taken(answer: DriverError | Merged | None) -> bool:
    return answer is None or (isinstance(answer, Merged) and answer.how != "kept")


def _replaced(answers: Answers) -> list[str]:
    """Ids of the messages whose places others have taken."""
    return [answer.other for answer in answers if isinstance(answer, Merged) and answer.how != "kept"]
