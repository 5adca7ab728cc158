"""Answers: results of the writer's thread, for the loops that asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from tasuki.drivers.sqlite.thread.requests import Receive, Request


class Answers:
    """``give_back`` releases the messages of a receive whose caller is gone."""

    def __init__(self, give_back: Callable[[Receive], None]) -> None:
        self._give_back = give_back

    def give(self, requests: Iterable[Request]) -> None:
        """Hand results to the loops that asked, once for each loop."""
        loops: dict[asyncio.AbstractEventLoop, list[Request]] = {}
        for request in requests:
            request.is_answered = True
            if request.future is not None:
                loops.setdefault(request.future.get_loop(), []).append(request)
        for loop, answered in loops.items():
            try:
                loop.call_soon_threadsafe(self._deliver, answered)
            except RuntimeError:  # the loop was closed: its receive is gone
                for request in answered:
                    if isinstance(request, Receive):
                        self._give_back(request)

    def _deliver(self, answered: list[Request]) -> None:
        for request in answered:
            future = request.future
            if future is None or future.done():
                if isinstance(request, Receive):
                    self._give_back(request)
            elif request.error is not None:
                future.set_exception(request.error)
            else:
                future.set_result(request.result)
