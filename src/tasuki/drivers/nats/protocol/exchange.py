"""Exchange: requests that go out together, and what became of each.

A server whose stream has just lost its leader says nothing to a request, not even later. So a request that does no harm
when it comes twice is sent again while nothing is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from tasuki.errors import DriverError

REPEATED_AFTER = 1.0
"""Seconds without any answer after which a request is sent again."""


class Exchange:
    """Requests that went out together; ``answers`` in their order, None where none came, and then why: ``problem``."""

    __slots__ = ("answers", "done", "left", "problem", "subjects")

    def __init__(self, subjects: Sequence[str]) -> None:
        self.subjects = subjects
        self.answers: list[bytes | str | None] = [None] * len(subjects)
        """The answers; a text is a status such as ``503`` without content."""
        self.left = len(subjects)
        self.problem: DriverError | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answer(self, index: int, data: bytes | str) -> None:
        """Take one answer."""
        if self.answers[index] is None:
            self.answers[index] = data
            self.left -= 1
            if not self.left and not self.done.done():
                self.done.set_result(None)

    def fail(self, problem: DriverError) -> None:
        """No more answers will come."""
        self.problem = problem
        if not self.done.done():
            self.done.set_result(None)

    def check(self, queue: str = "") -> None:
        """Raise the problem, if there is one; ``queue``: what the requests were about."""
        if self.problem is not None:
            self.problem.queue = queue
            raise self.problem

    def unanswered(self) -> list[int]:
        """The places of requests that nothing came for."""
        return [index for index, answer in enumerate(self.answers) if answer is None]


class Repeating:
    """Calls ``send`` with the exchange whenever nothing more of it was answered for a while, until it is done."""

    def __init__(self, exchange: Exchange, send: Callable[[Exchange], None]) -> None:
        self._exchange = exchange
        self._send = send
        self._left = exchange.left
        self._wait()

    def cancel(self) -> None:
        """No more."""
        self._timer.cancel()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(REPEATED_AFTER, self._check)

    def _check(self) -> None:
        if self._exchange.done.done():
            return
        if self._left == self._exchange.left:
            self._send(self._exchange)
        self._left = self._exchange.left
        self._wait()


def frames(requests: Sequence[tuple[str, bytes]], headers: Sequence[bytes], inbox: bytes) -> Iterator[bytes]:
    """Requests as they are written; each is answered to its own number below the inbox."""
    for index, (subject, data) in enumerate(requests):
        if headers and headers[index]:
            head = headers[index]
            sizes = b"%d %d" % (len(head), len(head) + len(data))
            yield b"HPUB %b %b%d %b\r\n%b%b\r\n" % (subject.encode(), inbox, index, sizes, head, data)
        else:
            yield b"PUB %b %b%d %d\r\n%b\r\n" % (subject.encode(), inbox, index, len(data), data)


def frame(subject: str, data: bytes, reply: str = "") -> bytes:
    """One message as it is written."""
    return b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(data), data)
