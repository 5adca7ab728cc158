"""Asking workers: why a message does not run, and what a running one holds.

A worker whose event loop is blocked answers late or never, and a page does not wait for it: what came is in the answer
of the next request.
"""

from __future__ import annotations

import asyncio
import base64
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from tasuki.app.explain import looking
from tasuki.app.explain.facts import Facts
from tasuki.app.explain.looking import Answers, Look, Searched
from tasuki.app.explain.rule import Explanation, explain
from tasuki.clock import Clock
from tasuki.consumers.reports.recorder_queries import MOST_BODY
from tasuki.desk.api.answers import ShownBody
from tasuki.desk.reading.bodies import body_of
from tasuki.desk.reading.messages import FoundMessage
from tasuki.desk.reading.records import held_in
from tasuki.desk.reading.snapshot import RunningRow
from tasuki.desk.site import BESIDE, Site
from tasuki.errors import TasukiError
from tasuki.message import Message
from tasuki.observe.events import HELD, STACK
from tasuki.queues.queue import Queue
from tasuki.state.cancelling import Cancel, cancel_of

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_FRESH = 10.0
"""Seconds for which an answer is used again while a newer one is awaited."""
_MOST = 200
"""Answers that are remembered."""


class QuestionsByKey(Generic[K, V]):
    """Asks one question at a time for each key; for one event loop."""

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock, self._name = clock, name
        self._tasks: OrderedDict[K, asyncio.Task[V]] = OrderedDict()
        self._known: OrderedDict[K, tuple[float, V]] = OrderedDict()

    async def get(self, key: K, ask: Callable[[], Awaitable[V]], patience: float) -> V | None:
        """The answer to ``ask`` if it comes within ``patience``, else the last one, else None. Raises nothing."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(_asked(ask), name=self._name)
            task.add_done_callback(lambda done: self._keep(key, done))
            while len(self._tasks) > _MOST:
                _, oldest = self._tasks.popitem(last=False)
                oldest.cancel()
        await asyncio.wait([task], timeout=patience)
        known = self._known.get(key)
        return known[1] if known is not None and self._clock.monotonic() - known[0] < _FRESH else None

    def _keep(self, key: K, task: asyncio.Task[V]) -> None:
        self._tasks.pop(key, None)
        if task.cancelled() or isinstance(task.exception(), TasukiError):
            return
        self._known[key] = self._clock.monotonic(), task.result()
        self._known.move_to_end(key)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _asked(ask: Callable[[], Awaitable[V]]) -> V:
    return await ask()


_SOON = 0.3
"""Seconds that a page waits for the workers: it asks again soon."""
PATIENCE = looking.PATIENCE + 0.5
"""Seconds that a program waits for them."""


class Asked:
    """What workers have reported of the messages that are looked at; for the loop of the desk."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site, self._clock = site, clock
        self._beside: QuestionsByKey[tuple[str, str], Answers] = QuestionsByKey(clock, "desk asks workers")
        self.close = self._beside.close

    async def explained(
        self, queue: str, id: str, found: FoundMessage, letters: str, patience: float = _SOON
    ) -> Explanation:
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


_HELD_SOON = 0.5
"""Seconds that the page waits for the worker: it is loaded again soon."""


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """A running message as its worker reports it; the body may be its beginning only."""

    message: Message
    size: int
    """Bytes of the whole body."""
    attempt: int
    lease: float | None
    """Seconds left when the worker answered; None: the broker keeps it for a connection."""
    in_thread: bool
    """Whether its handler is a plain function, which cannot be interrupted while it waits outside Python."""
    stack: str
    """Where its handler is; empty: the worker does not say."""

    def body_in(self, queue: Queue) -> ShownBody:
        """The body, as far as the worker gave it."""
        body = body_of(queue, self.message)
        return msgspec.structs.replace(body, size=self.size, is_cut=body.is_cut or self.size > MOST_BODY)


class HeldMessages:
    """Asks workers; for the loop of the desk."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site = site
        self._beside: QuestionsByKey[tuple[str, str, str], HeldMessage | None] = QuestionsByKey(
            clock, "desk asks for a running message"
        )
        self.close = self._beside.close

    async def look(self, queue: str, running: RunningRow, patience: float = _HELD_SOON) -> HeldMessage | None:
        """The message; None: its worker has not answered within ``patience`` seconds, or has it no more."""

        async def ask() -> HeldMessage | None:
            return _held(await held_in(self._site, queue, running), running.message.id)

        return await self._beside.get((queue, running.worker, running.message.id), ask, patience)


def _held(events: Sequence[dict[str, Any]], id: str) -> HeldMessage | None:
    told = next((each for each in events if each["kind"] == HELD), None)
    stack = next((str(each["value"]) for each in events if each["kind"] == STACK and each["message"] == id), "")
    if told is None:
        return None
    value = told["value"]
    message = Message(id, base64.b64decode(value["body"]), value["headers"])
    return HeldMessage(message, value["size"], told["attempt"], value["lease"], value["in_thread"], stack)


async def cancelled(site: Site, queue: str, id: str) -> Cancel | None:
    """The order to cancel a message; None: there is none, or the store does not answer in time."""

    async def look(live: Assembly) -> Cancel | None:
        state = live.state_of(queue)
        return None if state is None else await cancel_of(state, live.queues[queue].spec.name, id)

    try:
        return await site.at(queue, look, patience=BESIDE)
    except TasukiError:
        return None
