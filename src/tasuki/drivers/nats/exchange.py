"""Exchange: requests that go out together, and what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tasuki.errors import DriverError


class Exchange:
    """Requests that went out together; ``answers`` in their order, None where none came, and then why: ``problem``."""

    __slots__ = ("answers", "done", "left", "problem", "subjects")

    def __init__(self, subjects: Sequence[str]) -> None:
        self.subjects = subjects
        self.answers: list[bytes | str | None] = [None] * len(subjects)
        """What was answered; a text is a status such as ``503`` without content."""
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
