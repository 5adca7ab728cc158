"""The message that a page of the workbench is about, and the right to the page."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from tasuki.desk.pages.view import View
from tasuki.desk.reading.messages import DEEPEST, find
from tasuki.desk.security.forms import FormError, read_fields
from tasuki.desk.site import AwayError, problem_of
from tasuki.errors import DriverError
from tasuki.message import Message
from tasuki.queues.queue import Queue


@dataclass(frozen=True, slots=True)
class Subject:
    """A waiting message; ``place``: where it is in its queue."""

    queue: Queue
    message: Message
    place: int


async def subject_of(view: View, right: str) -> Subject | Response:
    """The message of a path ``messages/QUEUE/ID/…``, or the page that says why it is not shown."""
    id, message = view.path[1], view.path[2]
    queue = view.tools.site.live.queues[id]
    for each in ("peek", right):
        if not view.may(each, id):
            text = view.say("queue.no_right", right=f"queue.admin.{each}")
            return view.page("error.html", status=403, text=text)
    try:
        found = await find(view.tools.site, id, message, view.number_of("at", DEEPEST))
    except (DriverError, AwayError) as error:
        return view.page("error.html", status=503, text=problem_of(error))
    if found.message is None:
        return view.page("error.html", status=404, text=view.say("mend.gone", message=message[:100], id=id))
    return Subject(queue, found.message, found.place)


async def posted(view: View, most: int, fields: int) -> dict[str, str] | Response:
    """The fields of a form of this session, or the page that says why they are not read."""
    try:
        form = dict(await read_fields(view.request, most, fields))
    except FormError as error:
        return view.page("error.html", status=error.status, text=str(error))
    session, sessions = view.session, view.tools.sessions
    if not session.is_by_header and (session.is_new or not sessions.is_form_token(session.id, form.get("token", ""))):
        return view.page("error.html", status=403, text=view.say("error.form"))
    return form
