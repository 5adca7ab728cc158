"""Publishing: which messages of a batch can be stored, which were, and what to report of the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tasuki.contracts.driver import ACTS, SPANS, Answers, Merged, Outgoing
from tasuki.drivers.postgres import columns as rows
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
