"""Journal: what happens in a twin, noted in order, and the wake-ups of a test that waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from tasuki.contracts.context import Facts
from tasuki.contracts.driver import Outgoing, Receipt, Settlement
from tasuki.contracts.handler import Reject, Retry, Snooze
from tasuki.contracts.observer import Observer
from tasuki.errors import DriverError
from tasuki.message import DEAD_LETTER_REASON
from tasuki.testing.twin.reading.records import Drained, Failure

Outcome = Literal["ack", "nack", "dead_letter", "snooze", "release"]
"""How a delivery ended; a snooze is a release with a delay."""


class Journal(Observer):
    """Notified by the app, as an observer, and by the twin's drivers."""

    def __init__(self) -> None:
        self.published: dict[str, list[Outgoing]] = {}
        """What the application has published, by the id of the queue; dead letters are not among it."""
        self.settled: list[tuple[str, str, Outcome]] = []
        """Driver, name of the queue there, and outcome."""
        self.raised: dict[str, BaseException] = {}
        """What the handler of each message raised last."""
        self.started: set[str] = set()
        """Ids of the messages whose handlers have started, and whose deliveries are not settled."""
        self.failures: list[Failure] = []
        """The handlers' errors that the test has not read yet."""
        self.expected: list[BaseException] = []
        """Errors that the test itself has caused."""
        self.steps = 0
        """Deliveries so far."""
        self.requests: list[str] = []
        """Ids of the requests that were published so far."""
        self._waiting: list[asyncio.Future[None]] = []

    def on_publish(self, queue: str, messages: Sequence[Outgoing], errors: Sequence[DriverError | None]) -> None:
        """See Observer."""
        taken = [message for message, error in zip(messages, errors, strict=True) if error is None]
        self.published.setdefault(queue, []).extend(each for each in taken if DEAD_LETTER_REASON not in each.headers)
        self.tell()

    def on_start(self, facts: Facts) -> None:
        """See Observer."""
        if facts.message is not None:
            self.started.add(facts.message.id)
            self.tell()

    def on_end(self, facts: Facts, seconds: float, error: BaseException | None) -> None:
        """See Observer."""
        if error is None or facts.message is None:
            return
        self.raised[facts.message.id] = error
        if not isinstance(error, Exception) or isinstance(error, Retry | Reject | Snooze):
            return
        if not self._is_expected(error):
            self.failures.append(Failure(error, facts.queue, facts.message.id))

    def on_settled(self, consumer: str, batch: Sequence[Settlement], stale: Collection[Receipt]) -> None:
        """See Observer."""
        self.tell()

    def _is_expected(self, error: BaseException) -> bool:
        chain: BaseException | None = error
        while chain is not None:
            if any(chain is each for each in self.expected):
                return True
            chain = chain.__cause__ or chain.__context__
        return False

    def read_failures(self, messages: Collection[str] | None = None) -> list[Failure]:
        """The errors, of these messages or all; from now on the test has read them."""
        read = [failure for failure in self.failures if messages is None or failure.message in messages]
        # By id: two errors may be equal, or unable to compare.
        self.failures = [] if messages is None else [each for each in self.failures if each.message not in messages]
        return read

    def since(self, start: int) -> Drained:
        """Count the deliveries that were settled since ``settled`` had ``start`` items."""
        outcomes = [outcome for *_, outcome in self.settled[start:]]
        dead = outcomes.count("dead_letter")
        return Drained(outcomes.count("ack"), outcomes.count("nack") + dead, dead)

    def tell(self) -> None:
        """Something has changed: wake the test that waits. Only in the event loop of the waiting test."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    @contextmanager
    def news(self) -> Iterator[asyncio.Future[None]]:
        """A future that ends with the next change after this call."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            yield future
        finally:
            future.cancel()
