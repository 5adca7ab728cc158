"""Answers: results of the writer's thread, for the loops that asked."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

from tasuki.drivers.sqlite.thread.requests import Request


def answer(requests: Iterable[Request], unwanted: Callable[[Request], None]) -> None:
    """Give results to the loops that asked, once for each loop; ``unwanted`` gets requests whose callers are gone."""
    loops: defaultdict[asyncio.AbstractEventLoop, list[Request]] = defaultdict(list)
    for request in requests:
        request.is_answered = True
        if request.future is not None:
            loops[request.future.get_loop()].append(request)
    for loop, answered in loops.items():
        try:
            loop.call_soon_threadsafe(_deliver, answered, unwanted)
        except RuntimeError:  # the loop was closed
            for request in answered:
                unwanted(request)


def _deliver(answered: list[Request], unwanted: Callable[[Request], None]) -> None:
    for request in answered:
        future = request.future
        if future is None or future.done():
            unwanted(request)
        elif request.error is not None:
            future.set_exception(request.error)
        else:
            future.set_result(request.result)
