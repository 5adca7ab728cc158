"""Answer the process that asks for the latest events of a consumer, and for the state of a running message."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tasuki.clock import Clock
from tasuki.consumers.delivery import Delivery
from tasuki.consumers.handling.pool import Worker
from tasuki.consumers.handling.stack import stacks_as_events
from tasuki.errors import DriverError
from tasuki.handlers import threads
from tasuki.message import HeaderValue
from tasuki.observe.events import HELD, Event, as_dicts
from tasuki.state import recorder_requests
from tasuki.state.recorder_requests import Ask, answer, listen
from tasuki.state.shared import Controls, SharedState

MOST_BODY = 32 * 1024
"""Most bytes of a body in an answer: it goes through a store."""

_MOST_HEADERS, _MOST_HEADER = 32 * 1024, 4096
"""Most characters of all headers in an answer, and of one."""


def message_as_events(workers: Sequence[Worker], id: str, clock: Clock) -> list[dict[str, Any]]:
    """The message with this id that a handler has now, and the stack of that handler; nothing if no handler has it.

    The message is an event of the kind ``held``.
    Its value: ``body`` (base64, the beginning), ``size`` (bytes of all of it), ``headers``, ``lease`` (seconds that are
    left; None: the broker keeps it for a connection), and ``in_thread``, whether its handler is a plain function.
    """
    now, unix = clock.monotonic(), clock.time()
    held = [
        {
            "at": round(unix, 6),
            "kind": HELD,
            "message": id,
            "attempt": each.received.attempt,
            "value": {
                "body": base64.b64encode(each.received.body[:MOST_BODY]).decode(),
                "size": len(each.received.body),
                "headers": dict(_headers(each.received.headers)),
                "lease": None if each.lease_until == float("inf") else round(each.lease_until - now, 3),
                "in_thread": threads.is_running(worker.task),
            },
        }
        for worker, each in _held(workers)
        if each.received.id == id
    ]
    return held + [event for event in stacks_as_events(workers, unix) if event["message"] == id] if held else []


def _held(workers: Iterable[Worker]) -> Iterator[tuple[Worker, Delivery]]:
    for worker in workers:
        if (delivery := worker.delivery) is not None:
            yield from ((worker, each) for each in delivery.deliveries)


def _headers(headers: Mapping[str, HeaderValue]) -> Iterator[tuple[str, HeaderValue]]:
    left = _MOST_HEADERS
    for name, value in headers.items():
        shown = value[:_MOST_HEADER] if isinstance(value, str) else value
        left -= len(name) + len(str(shown))
        if left < 0:
            return
        yield name, shown


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
        return listen(controls, recorder_requests.Worker(socket.gethostname(), os.getpid()), self._begin)

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
