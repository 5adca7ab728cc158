"""Moving: which moves go into one statement, and what became of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple

from tasuki.contracts.driver import Move
from tasuki.contracts.moving import by_target, stale, told
from tasuki.drivers.postgres import columns as rows
from tasuki.drivers.postgres.publishing.publishing import full
from tasuki.drivers.toolkit.bounds import check_bounds
from tasuki.errors import DriverError

Results = Sequence[DriverError | None]
_STALE, FULL = 1, 2
"""What became of a move; 0: done."""


class Statement(NamedTuple):
    """Moves to one queue, by rising seq, as the function of the schema takes them."""

    to: str
    indexes: list[int]
    seqs: list[int]
    tokens: list[int]
    sizes: list[int]
    columns: rows.Arrays


async def move_in_parts(
    driver: str, queue: str, batch: Sequence[Move], run: Callable[[Statement], Awaitable[Sequence[int]]]
) -> Results:
    """Move a batch, in one statement for each queue it goes to; the results as ``Driver.move`` gives them."""
    results: list[DriverError | None] = [None] * len(batch)
    sound = []
    for index, move in enumerate(batch):
        results[index] = _refusal(driver, queue, batch, index)
        if results[index] is None:
            sound.append(index)
    for to, indexes in by_target(batch, sound).items():
        for statement in _statements(to, batch, indexes):
            try:
                answers = await run(statement)
            except DriverError as error:
                for index in statement.indexes:
                    results[index] = error
                continue
            for index, answer in zip(statement.indexes, answers, strict=True):
                if answer == _STALE:
                    results[index] = stale(batch[index].receipt, driver=driver, queue=queue)
                elif answer == FULL:
                    results[index] = full(driver, to)
    return told(results)


def _refusal(driver: str, queue: str, batch: Sequence[Move], index: int) -> DriverError | None:
    """Why a move cannot be tried: of two with one receipt the first counts."""
    move = batch[index]
    if not rows.is_receipt(move.receipt) or any(move.receipt == batch[other].receipt for other in range(index)):
        return stale(move.receipt, driver=driver, queue=queue)
    try:
        check_bounds(move.messages, driver=driver, queue=move.to)
    except DriverError as error:
        return error
    refusals = (rows.refusal(driver, move.to, message) for message in move.messages)
    return next((refusal for refusal in refusals if refusal is not None), None)


def _statements(to: str, batch: Sequence[Move], indexes: Sequence[int]) -> Iterator[Statement]:
    """Of at most ``MAX_STATEMENT`` bytes of bodies each, or one move."""
    part: list[int] = []
    size = 0
    for index in sorted(indexes, key=lambda index: batch[index].receipt):
        size += sum(len(message.body) for message in batch[index].messages)
        if part and size > rows.MAX_STATEMENT:
            yield _statement(to, batch, part)
            part, size = [], 0
        part.append(index)
    if part:
        yield _statement(to, batch, part)


def _statement(to: str, batch: Sequence[Move], indexes: list[int]) -> Statement:
    receipts = [batch[index].receipt for index in indexes]
    messages = [message for index in indexes for message in batch[index].messages]
    sizes = [len(batch[index].messages) for index in indexes]
    return Statement(
        to, indexes, [seq for seq, _ in receipts], [token for _, token in receipts], sizes, rows.arrays(messages)
    )
