"""A running message as its worker reports it, and whether its cancellation was asked for."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tasuki.clock import Clock
from tasuki.consumers.reports.holding import MOST_BODY
from tasuki.desk.reading.bodies import Body, body_of
from tasuki.desk.reading.observed.beside import Beside
from tasuki.desk.reading.observed.recorded import held_in
from tasuki.desk.reading.snapshot import RunningRow
from tasuki.desk.site import BESIDE, Site
from tasuki.errors import TasukiError
from tasuki.message import Message
from tasuki.observe.events import HELD, STACK
from tasuki.queues.queue import Queue
from tasuki.state.cancelling import cancel_of
from tasuki.state.cancels import Cancel

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

_SOON = 0.5
"""Seconds that the page waits for the worker: it is loaded again soon."""


@dataclass(frozen=True, slots=True)
class Held:
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

    def body_in(self, queue: Queue) -> Body:
        """The body, as far as the worker gave it."""
        body = body_of(queue, self.message)
        return replace(body, size=self.size, is_cut=body.is_cut or self.size > MOST_BODY)


class HeldMessages:
    """Asks workers; for the loop of the desk."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site = site
        self._beside: Beside[tuple[str, str, str], Held | None] = Beside(clock, "desk asks for a running message")
        self.close = self._beside.close

    async def look(self, queue: str, running: RunningRow, patience: float = _SOON) -> Held | None:
        """The message; None: its worker has not answered within ``patience`` seconds, or has it no more."""

        async def ask() -> Held | None:
            return _held(await held_in(self._site, queue, running), running.message.id)

        return await self._beside.get((queue, running.worker, running.message.id), ask, patience)


def _held(events: Sequence[dict[str, Any]], id: str) -> Held | None:
    told = next((each for each in events if each["kind"] == HELD), None)
    stack = next((str(each["value"]) for each in events if each["kind"] == STACK and each["message"] == id), "")
    if told is None:
        return None
    value = told["value"]
    message = Message(id, base64.b64decode(value["body"]), value["headers"])
    return Held(message, value["size"], told["attempt"], value["lease"], value["in_thread"], stack)


async def cancelled(site: Site, queue: str, id: str) -> Cancel | None:
    """The order to cancel a message; None: there is none, or the store does not answer in time."""

    async def look(live: Assembly) -> Cancel | None:
        state = live.state_of(queue)
        return None if state is None else await cancel_of(state, live.queues[queue].spec.name, id)

    try:
        return await site.at(queue, look, patience=BESIDE)
    except TasukiError:
        return None
