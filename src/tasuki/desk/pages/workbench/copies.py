"""Pages to copy from: a message as a test, and as JSON; secrets are masked in both."""

from __future__ import annotations

import base64

import msgspec
from starlette.responses import Response

from tasuki.desk.pages.view import PageError, View
from tasuki.desk.pages.workbench.found import Subject, subject_of
from tasuki.desk.reading.bodies import is_long, plain_of
from tasuki.errors import CodecError, InvalidBodyError
from tasuki.observe.plain import escape_json, escape_lines
from tasuki.observe.redact import masked, redact
from tasuki.workbench.editing.body import laid_out, shown
from tasuki.workbench.test_case import as_test

_MOST = 512 * 1024
"""Characters of a page."""


async def test(view: View) -> Response:
    """The source of a test that handles the message again."""
    subject = await _subject_of(view)
    queue, message = subject.queue, subject.message
    try:
        body = queue.decode(message)
    except (CodecError, InvalidBodyError):
        body = message.body
    source = as_test(message, body, queue.id, queue.codec_of(message))
    return _page(view, subject, "mend.test", escape_lines(source))


async def json(view: View) -> Response:
    """The message as one JSON document, whose numbers keep their digits."""
    subject = await _subject_of(view)
    message = subject.message
    text = shown(message.body, subject.queue.codec_of(message)).text
    document: dict[str, object] = {
        "id": message.id,
        "headers": {name: masked(value, name, keeps_types=True) for name, value in message.headers.items()},
    }
    try:
        msgspec.json.decode(text)
        document["body"] = msgspec.Raw(text.encode())
    except (msgspec.MsgspecError, ValueError, RecursionError):
        value = plain_of(subject.queue, message)
        if isinstance(value, bytes):
            document["body_base64"] = base64.b64encode(value).decode()
        else:
            document["body"] = value
    whole = laid_out(msgspec.json.encode(document)).decode("utf-8", "replace")
    return _page(view, subject, "mend.json", escape_json(redact(whole)))


async def _subject_of(view: View) -> Subject:
    subject = await subject_of(view, "peek")
    if is_long(subject.queue, subject.message):
        raise PageError(413, view.say("mend.copy_is_long"))
    return subject


def _page(view: View, subject: Subject, title: str, text: str) -> Response:
    return view.page(
        "copy.html",
        id=subject.message.id,
        queue=subject.queue.id,
        place=subject.place,
        heading=title,
        text=text[:_MOST],
        is_cut=len(text) > _MOST,
    )
