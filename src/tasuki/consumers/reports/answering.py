"""Answering: sends the latest events of a consumer to the process that asked for them."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable

from tasuki.consumers.handling.pool import Worker
from tasuki.consumers.handling.stack import stacks_as_events
from tasuki.consumers.reports.holding import message_as_events
from tasuki.errors import DriverError
from tasuki.observe.events import Event, as_dicts
from tasuki.state import asks
from tasuki.state.asks import Ask, answer, listen
from tasuki.state.controls import Controls
from tasuki.state.shared import SharedState

_log = logging.getLogger("tasuki.consumer")


class EventAnswers:
    """The answers of one run of a consumer, in its event loop."""

    def __init__(
        self, consumer: str, recent: Callable[[], list[Event]], workers: Callable[[], list[Worker]], state: SharedState
    ) -> None:
        self._consumer = consumer
        self._recent, self._workers = recent, workers
        self._state = state
        self._answers: set[asyncio.Task[None]] = set()

    def listen(self, controls: Controls) -> Callable[[], None]:
        """Answer from now on; returns what ends that."""
        return listen(controls, asks.Worker(socket.gethostname(), os.getpid()), self._begin)

    def _begin(self, ask: Ask) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(ask), name=f"{self._consumer} events")
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, ask: Ask) -> None:
        store = self._state.opened
        if store is None:
            return
        try:
            events = as_dicts(self._recent()[-ask.newest :], self._state.clock) if ask.newest else []
            if ask.stacks:
                events += stacks_as_events(self._workers(), self._state.clock.time())
            if ask.message:
                events += message_as_events(self._workers(), ask.message, self._state.clock)
            await answer(store, ask.asker, self._consumer, events)
        except DriverError as error:
            _log.debug("cannot report the latest events of %s: %s", self._consumer, error)
