"""What machines ask: ``/livez``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from tasuki.app.health.report import Report
from tasuki.desk.presentation.look import takes_gzip
from tasuki.desk.viewer import Watched
from tasuki.observe.exposition.text import respond

if TYPE_CHECKING:
    from tasuki.desk.pages.view import PageView


def _probe(watched: Watched, is_well: Callable[[Report], bool]) -> Response:
    """The status alone: a client needs no token here, and the texts of checks name queues and brokers."""
    report = watched.report()
    well = is_well(report)
    body = {"status": report.status, "live": report.is_live, "ready": report.is_ready}
    return Response(json.dumps(body) + "\n", 200 if well else 503, media_type="application/json")


def probes_of(watched: Watched) -> Mapping[str, Callable[[Request], Response]]:
    """First segment of the path → its answer. They need no token and no Host, as a kubelet has neither."""

    def answer(is_well: Callable[[Report], bool], request: Request) -> Response:
        return _probe(watched, is_well)

    return {
        "livez": partial(answer, lambda report: report.is_live),
        "readyz": partial(answer, lambda report: report.is_ready),
    }


async def metrics(view: PageView) -> Response:
    """What Prometheus reads; ids of queues and consumers are in it, so it asks for the token as the pages do."""
    request = view.request
    snapshot = await view.tools.watched.snapshot()
    content_type, body = respond(snapshot, request.headers.get("accept", ""), request.url.query)
    headers = {"content-type": content_type, "vary": "accept, accept-encoding"}
    if takes_gzip(request.headers.get("accept-encoding", "")):
        # Megabytes of a thousand queues: zlib runs without the interpreter's lock, so worker and desk go on.
        body = await asyncio.to_thread(gzip.compress, body, 1)
        headers["content-encoding"] = "gzip"
    return Response(body, headers=headers)
