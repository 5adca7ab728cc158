"""The stream that tells pages when to fetch themselves again. It holds no state of a viewer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tasuki.desk.pages.view import PageView
from tasuki.errors import TasukiError

MOST = 64
"""Streams of all clients."""
MOST_OF_ONE = 8
"""Streams of one client: browsers open one for each tab that is seen."""
PERIOD = 2.0
"""Seconds between two ticks."""


async def events(view: PageView) -> Response:
    """A tick every two seconds."""
    streams, client = view.tools.streams, view.session.client
    if sum(streams.values()) >= MOST or streams.get(client, 0) >= MOST_OF_ONE:
        return PlainTextResponse("too many event streams\n", 503, {"retry-after": "10"})
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return _Stream(view, client, headers)


class _Stream(StreamingResponse):
    """Counted from before anything else runs: of many that come at once, not all may see the room for one."""

    def __init__(self, view: PageView, client: str, headers: dict[str, str]) -> None:
        super().__init__(_ticks(view), media_type="text/event-stream", headers=headers)
        self._streams, self._client = view.tools.streams, client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client goes."""
        streams, client = self._streams, self._client
        streams[client] = streams.get(client, 0) + 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            streams[client] -= 1
            if not streams[client]:
                del streams[client]


async def _ticks(view: PageView) -> AsyncIterator[str]:
    yield "retry: 3000\n\n"
    number = 0
    while True:
        number += 1
        with suppress(TasukiError):  # the page says which broker is unavailable
            await view.tools.sampler.latest()  # so that pages that come for it need not wait
        yield f"data: {number}\n\n"
        await asyncio.sleep(PERIOD)
