"""The stream that tells pages when to fetch themselves again. It holds no state of a viewer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from starlette.responses import PlainTextResponse, Response, StreamingResponse

from tasuki.desk.pages.view import View
from tasuki.errors import TasukiError

MOST = 64
"""Streams of all clients."""
MOST_OF_ONE = 8
"""Streams of one client: browsers open one for each tab that is seen."""
PERIOD = 2.0
"""Seconds between two ticks."""


async def events(view: View) -> Response:
    """A tick every two seconds."""
    streams, client = view.tools.streams, view.session.client
    if sum(streams.values()) >= MOST or streams.get(client, 0) >= MOST_OF_ONE:
        return PlainTextResponse("too many event streams\n", 503, {"retry-after": "10"})
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_ticks(view, client), media_type="text/event-stream", headers=headers)


async def _ticks(view: View, client: str) -> AsyncIterator[str]:
    streams = view.tools.streams
    streams[client] = streams.get(client, 0) + 1
    try:
        yield "retry: 3000\n\n"
        number = 0
        while True:
            number += 1
            with suppress(TasukiError):  # the page says which broker is away
                await view.tools.sampler.latest()  # so that pages that come for it need not wait
            yield f"data: {number}\n\n"
            await asyncio.sleep(PERIOD)
    finally:
        streams[client] -= 1
        if not streams[client]:
            del streams[client]
