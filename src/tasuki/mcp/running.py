"""Running ``tasuki mcp``: until its client closes stdin, or a signal comes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from mcp.server.stdio import stdio_server

from tasuki.app.app import reader_of
from tasuki.desk.site import Site
from tasuki.errors import TasukiError
from tasuki.kinds.check.rights import Rights
from tasuki.mcp.passages import Passages
from tasuki.mcp.serving import NO_POLICY, Serving
from tasuki.mcp.source import ToolSource
from tasuki.mcp.wire import Wire, WireReplies, WireRequests

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.kinds.check.project import Project

_GRACE = 1.0
"""Seconds in which answers under way are written at the end."""


def require_policy(project: Project, actor: str) -> None:
    """Return if a policy says who may act. Raises TasukiError, which names the remedy."""
    if not Rights(project).admin.are_declared:
        raise TasukiError(NO_POLICY.format(actor=actor))


def source_of(app: App, actor: str, check: Sequence[str], passages: Passages, *, allows_acts: bool) -> ToolSource:
    """The source for a whole installation, without a worker here. One that only reads drives no batch of others."""
    return ToolSource(
        Site(reader_of(app), None, opens=True, drives=allows_acts), actor, app._runtime.clock, check, passages
    )


async def serve(source: ToolSource, wire: Wire, *, allows_acts: bool) -> None:
    """Answer the client until it goes. Raises TasukiError: it sent what cannot be read."""
    requests = WireRequests(wire.read)
    await requests.open()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    work = asyncio.create_task(_serve(source, requests, WireReplies(wire.write, requests), allows_acts))
    try:
        await asyncio.wait([work, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            await _end(work, requests)
        else:
            await work
    finally:
        requests.close()
        await source.close()
    if requests.problem:
        raise TasukiError(requests.problem)


async def _end(work: asyncio.Task[None], requests: WireRequests) -> None:
    """End as if the client had gone, which the SDK knows; it does not know how to be cancelled."""
    requests.end()
    await asyncio.wait([work], timeout=_GRACE)
    if not work.done():  # the client does not read
        work.cancel()
        await asyncio.wait([work], timeout=_GRACE)
    if work.done() and not work.cancelled():
        work.exception()  # retrieved, so that asyncio does not log it


async def _serve(source: ToolSource, requests: WireRequests, replies: WireReplies, allows_acts: bool) -> None:
    server = Serving(source, allows_acts=allows_acts).server()
    # The SDK asks of both no more than that they iterate, write and flush.
    async with stdio_server(cast(Any, requests), cast(Any, replies)) as (read, write):
        await server.run(read, write, server.create_initialization_options())
