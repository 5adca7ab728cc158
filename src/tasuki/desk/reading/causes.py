"""Causes: why a message does not run now, by the rule of ``tasuki explain``.

Workers are asked beside: one whose event loop is blocked answers late or never, and the page does not wait for it. What
came is in the answer of the next request.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from tasuki.app.explain import looking
from tasuki.app.explain.facts import Facts
from tasuki.app.explain.looking import Answers, Look, Searched
from tasuki.app.explain.rule import Explanation, explain
from tasuki.clock import Clock
from tasuki.desk.reading.messages import Found
from tasuki.desk.reading.observed.beside import Beside
from tasuki.desk.site import Site

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

_SOON = 0.3
"""Seconds that a page waits for the workers: it asks again soon."""
PATIENCE = looking.PATIENCE + 0.5
"""Seconds that a program waits for them."""


class Asked:
    """What workers have reported of the messages that are looked at; for the loop of the desk."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site, self._clock = site, clock
        self._beside: Beside[tuple[str, str], Answers] = Beside(clock, "desk asks workers")
        self.close = self._beside.close

    async def explained(self, queue: str, id: str, found: Found, letters: str, patience: float = _SOON) -> Explanation:
        """Why a message that was ``found`` does not run; ``letters``: the dead-letter queue to look into, empty: none.

        ``patience``: seconds to wait for the workers. Raises AwayError, DriverError.
        """
        site = self._site
        is_near = bool(letters) and site.is_private(letters) == site.is_private(queue)

        async def look(live: Assembly) -> tuple[Look, Facts]:
            dead = live.queues.get(letters) if is_near else None
            known = Searched(found.message, found.place, found.searched)
            asking = Look(live, self._clock, live.queues[queue], id, dead, known, found.is_name)
            return asking, await asking.plainly()

        asking, facts = await site.at(queue, look)
        return explain(asking.answered(facts, await self._answers(queue, id, asking, facts, patience)))

    async def _answers(self, queue: str, id: str, asking: Look, facts: Facts, patience: float) -> Answers:
        def ask() -> Awaitable[Answers]:
            return self._site.at(queue, lambda live: asking.ask(facts))

        return await self._beside.get((queue, id), ask, patience) or {}
