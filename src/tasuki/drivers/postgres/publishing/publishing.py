"""Publishing: which messages of a batch can be stored, which were, and what to tell of the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from tasuki.contracts.driver import Outgoing
from tasuki.drivers.postgres import columns as rows
from tasuki.drivers.toolkit.bounds import check_bounds
from tasuki.drivers.toolkit.results import Results, full, sorted_out, stored_in_order
from tasuki.errors import DriverError

_NOTHING: Mapping[int, DriverError] = {}


async def publish_in_parts(
    driver: str, queue: str, batch: Sequence[Outgoing], store: Callable[[rows.Arrays], Awaitable[int]]
) -> Results:
    """Store a batch, in one statement unless it is of many megabytes; the results as ``Driver.publish`` gives them.

    ``store`` says how many of its rows, from the first on, found room.
    """
    if not batch:
        return ()
    check_bounds(batch, driver=driver, queue=queue)
    try:
        columns, refused = rows.arrays(batch), _NOTHING
    except (TypeError, ValueError, OverflowError):
        sound, refused = sorted_out(batch, partial(rows.refusal, driver, queue))
        if not sound:
            return stored_in_order(len(batch), 0, refused, full(queue, None, driver=driver))
        columns = rows.arrays(sound)
    kept = 0
    failed: DriverError | None = None
    for part in rows.parts(columns):
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
