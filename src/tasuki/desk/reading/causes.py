"""Causes: why a message does not run now, by the rule of ``tasuki explain``.

Workers are asked beside: one whose event loop is blocked answers late or never, and the page does not wait for it. What
came is in the answer of the next request.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from tasuki.app.explain import looking
from tasuki.app.explain.facts import Facts
from tasuki.app.explain.looking import Answers, Look, Searched
from tasuki.app.explain.rule import Explanation, explain
from tasuki.clock import Clock
from tasuki.desk.reading.messages import Found
from tasuki.desk.site import Site
from tasuki.errors import TasukiError

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

_SOON = 0.3
"""Seconds that a page waits for the workers: it asks again soon."""
PATIENCE = looking.PATIENCE + 0.5
"""Seconds that a program waits for them."""
_FRESH = 10.0
"""Seconds for which an answer is used again while a newer one is awaited."""
_MOST = 200
"""Messages whose answers are remembered."""


class Asked:
    """What workers have told of the messages that are looked at; for the loop of the desk."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site, self._clock = site, clock
        self._tasks: OrderedDict[tuple[str, str], asyncio.Task[Answers]] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], tuple[float, Answers]] = OrderedDict()

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
        key, now = (queue, id), self._clock.monotonic()
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(
                self._site.at(queue, lambda live: asking.ask(facts)), name="desk asks workers"
            )
            task.add_done_callback(lambda done: self._keep(key, done))
            self._bound()
        await asyncio.wait([task], timeout=patience)
        known = self._known.get(key)
        return known[1] if known is not None and now - known[0] < _FRESH else {}

    def _keep(self, key: tuple[str, str], task: asyncio.Task[Answers]) -> None:
        self._tasks.pop(key, None)
        if task.cancelled() or isinstance(task.exception(), TasukiError):
            return
        self._known[key] = self._clock.monotonic(), task.result()
        self._known.move_to_end(key)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)

    def _bound(self) -> None:
        while len(self._tasks) > _MOST:
            _, task = self._tasks.popitem(last=False)
            task.cancel()

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
