"""Moving: what both ways of moving letters have in common: choose, pace, put, and the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from msgspec.structs import replace

from tasuki.contracts.driver import Outgoing
from tasuki.dead.moving.failed_again import FailedAgain
from tasuki.dead.moving.places import Places
from tasuki.dead.moving.progress import Progress
from tasuki.dead.rules import steps
from tasuki.dead.rules.forms import Note, note_of
from tasuki.dead.selection import Chooser
from tasuki.errors import DriverError
from tasuki.message import Message
from tasuki.queues.queue import Queue

M = TypeVar("M", bound=Message)


class Letter(NamedTuple, Generic[M]):
    """A letter that is moved: to a queue, or to the trash (None)."""

    message: M
    target: Queue | None
    note: Note


class Moving(Generic[M]):
    """Moves letters until none is left. Every verb may raise HaltedError and DriverError."""

    def __init__(
        self, progress: Progress, places: Places, chooser: Chooser, failed_again: FailedAgain | None = None
    ) -> None:
        self._progress, self._places, self._chooser, self._failed_again = progress, places, chooser, failed_again

    async def run(self) -> None:
        """Move all; the batch is finished when this returns, or its canary has stopped it."""
        progress = self._progress
        try:
            await self._begin()
            while chunk := await self._next():
                await progress.pace(await self._move(chunk))
                if self._failed_again is not None and await self._failed_again.stop(progress):
                    return
        finally:
            await self._end()
        await progress.write(replace(progress.batch, seen=self._chooser.passed, unclear=self._chooser.unclear))
        if self._failed_again is not None:
            await self._failed_again.count(progress)
        await progress.end(steps.finished(progress.batch, await progress.now()))

    async def _begin(self) -> None:
        """Before the first letter."""
        raise NotImplementedError

    async def _next(self) -> Sequence[Letter[M]]:
        """The next letters to move; none: this is the end."""
        raise NotImplementedError

    async def _move(self, chunk: Sequence[Letter[M]]) -> int:
        """Announce the letters, put them, and count them; returns how many were moved."""
        raise NotImplementedError

    async def _end(self) -> None:
        """After the last letter, also after a failure."""

    def _taken(self, message: M) -> Letter[M] | None:
        """The letter, if it is chosen and some queue takes it."""
        batch = self._progress.batch
        if not self._chooser.takes(message):
            return None
        target = None if batch.act == "delete" else self._places.target(message)
        if target is None and batch.act != "delete":
            self._progress.batch = replace(batch, stayed=batch.stayed + 1)
            return None
        return Letter(message, target, note_of(message, batch.act) if batch.kept else {})

    async def _put_each(self, chunk: Sequence[Letter[M]], now: float) -> list[DriverError | None]:
        """Put each letter into its place; one answer for each."""
        groups: dict[Queue | None, list[int]] = {}
        for number, letter in enumerate(chunk):
            groups.setdefault(letter.target, []).append(number)
        answers: dict[int, DriverError | None] = {}
        for target, numbers in groups.items():
            letters = [chunk[number].message for number in numbers]
            to = None if target is None else target.spec
            sent = [self._places.form(letter, now, to) for letter in letters]
            answers.update(zip(numbers, await self._put(target, letters, sent), strict=True))
        return [answers[number] for number in range(len(chunk))]

    async def _put(
        self, target: Queue | None, letters: Sequence[M], sent: Sequence[Outgoing]
    ) -> Sequence[DriverError | None]:
        """Put letters into one queue; None: the trash."""
        raise NotImplementedError
