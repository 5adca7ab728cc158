"""Batches of moves: refuses some at once, sends the others to the broker together, and answers for each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

from tasuki.contracts.driver import Move
from tasuki.contracts.moving import by_target, stale
from tasuki.contracts.results import Results, answer
from tasuki.drivers.toolkit.bounds import check_bounds
from tasuki.drivers.toolkit.results import full
from tasuki.errors import DriverError

STALE, FULL = 1, 2
"""What became of a move, as brokers answer; 0: done."""
Outcome = int | DriverError | None

MAX_BYTES = 16 * 2**20
"""Most bytes of bodies in one request, unless a single move has more."""


async def move_together(
    driver: str,
    queue: str,
    batch: Sequence[Move],
    *,
    refuse: Callable[[Move], DriverError | None],
    run: Callable[[str, Sequence[Move]], Awaitable[Sequence[Outcome]]],
    most: int = 1000,
) -> Results:
    """Move a batch; the results as ``Driver.move`` gives them.

    Args:
        driver: its name, for errors.
        queue: where the deliveries are from.
        batch: the moves.
        refuse: why a move cannot be tried, if it cannot.
        run: move some to one queue, no receipt twice; gives one outcome each.
        most: most moves of one ``run``.
    """
    results: list[DriverError | None] = [None] * len(batch)
    sound: list[int] = []
    first = {move.receipt: index for index, move in reversed([*enumerate(batch)])}
    for index, move in enumerate(batch):
        is_repeated = first[move.receipt] != index
        results[index] = (
            stale(move.receipt, driver=driver, queue=queue) if is_repeated else _refusal(driver, move, refuse)
        )
        if results[index] is None:
            sound.append(index)
    for to, indexes in by_target(batch, sound).items():
        for part in _parts(batch, indexes, most):
            try:
                outcomes = await run(to, [batch[index] for index in part])
            except DriverError as error:
                outcomes = [error] * len(part)
            for index, outcome in zip(part, outcomes, strict=True):
                results[index] = _error(outcome, batch[index], driver=driver, queue=queue)
    return answer(results)


def _refusal(driver: str, move: Move, refuse: Callable[[Move], DriverError | None]) -> DriverError | None:
    try:
        check_bounds(move.messages, driver=driver, queue=move.to)
    except DriverError as error:
        return error
    return refuse(move)


def _parts(batch: Sequence[Move], indexes: Sequence[int], most: int) -> Iterator[list[int]]:
    part: list[int] = []
    size = 0
    for index in indexes:
        size += sum(len(message.body) for message in batch[index].messages)
        if part and (size > MAX_BYTES or len(part) == most):
            yield part
            part, size = [], 0
        part.append(index)
    if part:
        yield part


def _error(outcome: Outcome, move: Move, *, driver: str, queue: str) -> DriverError | None:
    if outcome == STALE:
        return stale(move.receipt, driver=driver, queue=queue)
    if outcome == FULL:
        return full(move.to, None, driver=driver)
    return outcome if isinstance(outcome, DriverError) else None
