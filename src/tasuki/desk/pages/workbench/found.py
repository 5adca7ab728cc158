"""The message that a page of the workbench is about, and the right to the page."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.desk.pages.view import PageError, View
from tasuki.desk.reading.messages import DEEPEST, find
from tasuki.message import Message
from tasuki.queues.queue import Queue


@dataclass(frozen=True, slots=True)
class Subject:
    """A waiting message; ``place``: where it is in its queue."""

    queue: Queue
    message: Message
    place: int


async def subject_of(view: View, right: str) -> Subject:
    """The message of a path ``messages/QUEUE/ID/…``. Raises PageError, AwayError, DriverError."""
    id, message = view.path[1], view.path[2]
    queue = view.tools.site.live.queues[id]
    for each in ("peek", right):
        view.require(each, id)
    found = await find(view.tools.site, id, message, view.number_of("at", DEEPEST))
    if found.message is None:
        raise PageError(404, view.say("mend.gone", message=message[:100], id=id))
    return Subject(queue, found.message, found.place)
