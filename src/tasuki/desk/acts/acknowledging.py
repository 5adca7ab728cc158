"""Acknowledging: the end of a silent worker is known, so that its entry needs no attention any more."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tasuki.app.state.workers import crew_of
from tasuki.desk.site import Site

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly


async def acknowledge(site: Site, worker: str) -> None:
    """Remove the entries of a silent worker (``host:pid``) from all stores.

    Raises:
        LookupError: there is none, as it was acknowledged before, or it lives. AwayError, DriverError.
    """
    removed = 0
    for app, _ in site.parts():
        removed += await site.on(app, partial(_remove, worker))
    if not removed:
        raise LookupError(f"no worker {worker!r} fell silent in the last 15 minutes, or it is acknowledged")


async def _remove(worker: str, live: Assembly) -> int:
    removed = 0
    for state in live.states_of_queues():
        if state.opened is None:  # a store is made by opening it
            continue
        for each in (await crew_of(state)).lost:
            if each.name == worker:
                removed += await state.opened.delete(each.key)
    return removed
