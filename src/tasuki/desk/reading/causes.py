"""Causes: why a message does not run now, by the rule of ``tasuki explain``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasuki.app.explain.looking import Look, Searched
from tasuki.app.explain.rule import Explanation, explain
from tasuki.clock import Clock
from tasuki.desk.reading.messages import Found
from tasuki.desk.site import Site

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly


async def explained(site: Site, clock: Clock, queue: str, id: str, found: Found, letters: str) -> Explanation:
    """Why a message that was ``found`` does not run; ``letters``: the dead-letter queue to look into, empty: none.

    Raises AwayError, DriverError.
    """
    is_near = bool(letters) and site.is_private(letters) == site.is_private(queue)

    async def look(live: Assembly) -> Explanation:
        dead = live.queues.get(letters) if is_near else None
        known = Searched(found.message, found.place, found.searched)
        asking = Look(live, clock, live.queues[queue], id, dead, known)
        return explain(await asking.ask_workers(await asking.plainly()))

    return await site.at(queue, look)
