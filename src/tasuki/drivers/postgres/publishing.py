"""Publishing: refuses messages, stores the others in as many statements as they need, and answers for each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tasuki.contracts.driver import ACTS, SPANS, Answers, Merged, Outgoing
from tasuki.drivers.postgres import columns as rows
from tasuki.drivers.postgres.connections import VALUES
from tasuki.drivers.toolkit.results import answered_in_order, check_bounds, full, sorted_out, stored_in_order
from tasuki.errors import DriverError

UNIQUE = frozenset({*SPANS, *ACTS})
_NOTHING: Mapping[int, DriverError] = {}
Store = Callable[[tuple[Any, ...]], Awaitable[int]]
"""Stores columns of ``rows.Arrays``, and of lanes if there are any; says how many messages, in order, found room."""
StoreUnique = Callable[[tuple[Any, ...]], Awaitable[str]]
"""The same with ``rows.UniqueColumns`` behind them; gives the answers as the function of the schema does."""


async def publish_in_parts(
    driver: str, queue: str, batch: Sequence[Outgoing], store: Store, store_unique: StoreUnique
) -> Answers:
    """Store a batch, in one statement unless it is of many megabytes; the results as ``Driver.publish`` gives them."""
    if not batch:
        return ()
    is_unique = check_bounds(batch, driver=driver, queue=queue, unique=UNIQUE)
    try:
        columns, refused, sound = rows.arrays(batch), _NOTHING, batch
    except (TypeError, ValueError, OverflowError):
        sound, refused = sorted_out(batch, partial(rows.refusal, driver, queue))
        if not sound:
            return stored_in_order(len(batch), 0, refused, full(queue, None, driver=driver))
        columns = rows.arrays(sound)
    if is_unique:
        return await _publish_unique(driver, queue, len(batch), sound, columns, refused, store_unique)
    kept = 0
    failed: DriverError | None = None
    for part in rows.parts((*columns, *rows.lane_column(sound))):
        try:
            stored = await store(part)
        except DriverError as error:
            if not kept:
                raise
            failed = error
            break
        kept += stored
        if stored < len(part[0]):
            break
    return (
        ()
        if kept == len(batch)
        else stored_in_order(len(batch), kept, refused, failed or full(queue, None, driver=driver))
    )


async def _publish_unique(
    driver: str,
    queue: str,
    count: int,
    sound: Sequence[Outgoing],
    columns: rows.Arrays,
    refused: Mapping[int, DriverError],
    store: StoreUnique,
) -> Answers:
    """The same for a batch with unique messages."""
    told: list[Merged | DriverError | None] = []
    failed: DriverError = full(queue, None, driver=driver)
    for part in rows.parts((*columns, *rows.unique_columns(sound), *rows.lane_column(sound))):
        try:
            answers = rows.merged(driver, queue, await store(part))
        except DriverError as error:
            if not told:
                raise
            failed = error
            break
        told += answers
        if len(answers) < len(part[0]):
            break
    return answered_in_order(count, told, refused, failed)


def _call(function: str, columns: int, before: int, *, within: int | None = None, more: str = "") -> str:
    """For ``before`` arguments and ``columns``; ``within``: behind which argument comes that it commits itself.

    ``more``: what follows the arguments.
    """
    arguments = [f"${number}" for number in range(1, before + columns + 1)]
    if within is not None:
        arguments.insert(within, "false")
    return f"SELECT {VALUES}, {{}}.{function}({', '.join(arguments)}{more}), current_setting('synchronous_commit')"


_BUSY = ", answers_busy => true"
PUBLISH = {
    7: _call("publish", 7, 1, within=8),
    8: _call("publish", 8, 1, within=8),  # with lanes
    11: _call("publish_unique", 11, 1, within=8, more=_BUSY),
    12: _call("publish_unique", 12, 1, within=8, more=_BUSY),
}
"""Behind the name of the queue."""
TRANSFER = {columns: _call("transfer", columns, 2) for columns in (9, 10)}
"""Behind the names of the queue and of the target."""
MOVE = {columns: _call("move", columns, 2) for columns in (10, 11)}
