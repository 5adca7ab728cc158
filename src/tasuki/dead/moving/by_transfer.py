"""By transfer: letters leave their queue in one step each, on drivers with ``transfer``; none is held."""

from __future__ import annotations

from collections.abc import Container, Sequence

from msgspec.structs import replace

from tasuki.contracts.driver import Outgoing, place_of
from tasuki.dead import steps
from tasuki.dead.batch import KEPT
from tasuki.dead.forms import CHUNK, has_room, weight_of
from tasuki.dead.moving.moving import FailedAgain, Letter, Moving, Progress
from tasuki.dead.moving.places import Places, removed, transfer
from tasuki.dead.selection import Chooser, cause_of
from tasuki.dead.walk import Search, Walk
from tasuki.errors import DriverError, MessageNotFoundError, QueueFullError
from tasuki.message import BATCH, MOVED_FROM, HeaderValue, Message
from tasuki.queues.queue import PUBLISH_TIMEOUT, Queue

_FULL_WAIT = 0.05
"""Seconds until a full queue is tried again."""


class ByTransfer(Moving[Message]):
    """On drivers with ``transfer``."""

    def __init__(
        self, progress: Progress, places: Places, chooser: Chooser, failed_again: FailedAgain | None = None
    ) -> None:
        super().__init__(progress, places, chooser, failed_again)
        self._walk = self._choose_walk()
        self._page: list[Message] = []
        self._restarts = 0
        self._left_to_see: int | None = None
        self._is_full = False
        """Whether its limit is reached."""
        self._again: Container[str] = ()
        """The letters of this chunk that may have been moved before."""
        self._ahead = 0.0
        """What the time of the store is ahead of the monotonic clock here."""

    async def _begin(self) -> None:
        progress = self._progress
        if progress.batch.act == "delete" and progress.batch.kept:
            await self._places.declare_trash()
            self._ahead = await progress.now() - progress.clock.monotonic()
        self._begin_walk()

    def _choose_walk(self) -> Walk | Search:
        """Through what it has to look at: the letters of its ids, of its one cause, or all."""
        driver, name, batch = self._places.driver, self._places.source.spec.name, self._progress.batch
        if self._chooser.names:
            return Search(driver, name, self._chooser.names.ids)
        return Walk(driver, name, cause_of(batch) if batch.among is not None else "")

    def _begin_walk(self) -> None:
        """From the oldest letter on: as many as were there when the batch began are looked at, and no newer ones."""
        batch = self._progress.batch
        there = batch.there if batch.among is None else batch.among
        if there is not None and not batch.ids:
            self._left_to_see = there - batch.moved - batch.gone + len(batch.doubt)
        self._progress.batch = replace(batch, stayed=0)
        self._chooser.begin()

    async def _next(self) -> list[Letter[Message]]:
        await self._progress.sure()
        most = steps.most_now(self._progress.batch, CHUNK)
        chunk: list[Letter[Message]] = []
        weight = fresh = 0
        while not self._is_full and len(chunk) < most and has_room(len(chunk), weight):
            if not self._page:
                if chunk:
                    break  # those that it has are moved first, so that the next page begins behind them
                if not await self._turn():
                    break
            if any(letter.message.id == self._page[0].id for letter in chunk):
                break  # a chunk has one note for an id
            message = self._page.pop(0)
            if self._left_to_see is not None:
                self._left_to_see -= 1
            letter = self._taken(message)
            if letter is None:
                self._walk.stays(message)
                continue
            if not steps.may_take(self._progress.batch, message.id, fresh):
                self._is_full = True
                break
            fresh += message.id not in self._progress.batch.doubt
            chunk.append(letter)
            weight += weight_of(letter.note)
        return chunk

    async def _turn(self) -> bool:
        """Get the next page; False: there is none, or all letters have been found."""
        if self._chooser.has_all or (self._left_to_see is not None and self._left_to_see <= 0):
            return False
        await self._progress.sure()
        page = await self._walk.page()
        if self._walk.restarts != self._restarts:
            self._restarts = self._walk.restarts
            self._begin_walk()
        self._page = list(page[: self._left_to_see])
        return bool(self._page)

    async def _move(self, chunk: Sequence[Letter[Message]]) -> int:
        progress, batch = self._progress, self._progress.batch
        ids = [letter.message.id for letter in chunk]
        self._again = again = steps.again_of(batch, ids)
        kept = self._is_kept(chunk)
        if kept:
            await progress.note({letter.message.id: letter.note for letter in chunk})
        targets = dict.fromkeys((*batch.targets, *(letter.target.id for letter in chunk if letter.target)))
        chunks = batch.chunks + kept
        facts = {"kept": kept, "chunks": chunks, "targets": tuple(targets), "seen": self._chooser.passed}
        await progress.announce(replace(steps.about(batch, ids), **facts))
        await progress.sure()
        answers = await self._put_all(chunk, is_kept=kept)
        moved = gone = 0
        trouble: DriverError | None = None
        for letter, answer in zip(chunk, answers, strict=True):
            if answer is None or (isinstance(answer, MessageNotFoundError) and letter.message.id in again):
                moved += 1
            elif isinstance(answer, MessageNotFoundError):
                gone += 1
            else:
                self._walk.stays(letter.message)
                trouble = trouble or answer
        stayed = 0 if trouble is not None and trouble.retryable else len(chunk) - moved - gone
        settled = steps.settled(progress.batch, moved, gone, stayed)
        await progress.write(replace(settled, problem=str(trouble) if trouble else settled.problem))
        if trouble is not None and (trouble.retryable or not progress.is_recorded):
            raise trouble
        return moved

    def _is_kept(self, chunk: Sequence[Letter[Message]]) -> bool:
        """Whether all letters can be brought back, these included."""
        batch = self._progress.batch
        if not batch.kept or batch.moved + len(chunk) > KEPT:
            return False
        places = self._places
        return all(places.reaches(each.target) if each.target else places.has_trash for each in chunk)

    async def _put_all(self, chunk: Sequence[Letter[Message]], *, is_kept: bool) -> list[DriverError | None]:
        """Put each letter into its place; one answer for each."""
        batch, driver, source = self._progress.batch, self._places.driver, self._places.source
        if batch.act == "delete" and not is_kept:
            count = await removed(driver, source.spec.name, [letter.message for letter in chunk])
            gone = MessageNotFoundError("another process was faster", driver=driver.name, queue=source.spec.name)
            return [None if number < count else gone for number in range(len(chunk))]
        clock = self._progress.clock  # the trash is emptied by the time of the store
        now = self._ahead + clock.monotonic() if batch.act == "delete" else clock.time()
        return await self._put_each(chunk, now)

    async def _put(
        self, target: Queue | None, letters: Sequence[Message], sent: Sequence[Outgoing]
    ) -> Sequence[DriverError | None]:
        places, name = self._places, self._places.source.spec.name
        if target is None:
            return await transfer(places.driver, name, letters, places.trash, sent)
        if not places.reaches(target):
            return await self._carry(target, letters, sent)

        async def carry(messages: Sequence[Outgoing]) -> list[DriverError | None]:
            answers = await transfer(places.driver, name, letters, target.spec.name, messages)
            if not self._progress.is_recorded and target.policy.overflow == "block":
                await self._wait_for_room(target, letters, messages, answers)
            return answers

        return await places.put(target, sent, letters, carry)

    async def _wait_for_room(
        self,
        target: Queue,
        letters: Sequence[Message],
        messages: Sequence[Outgoing],
        answers: list[DriverError | None],
    ) -> None:
        """A full queue is waited for as by a publish, as long as it takes some; changes the ``answers``."""
        places, clock = self._places, self._progress.clock
        until = clock.monotonic() + PUBLISH_TIMEOUT
        while full := [number for number, answer in enumerate(answers) if isinstance(answer, QueueFullError)]:
            if clock.monotonic() > until:
                return
            await self._progress.rest(_FULL_WAIT)
            again = await transfer(
                places.driver,
                places.source.spec.name,
                [letters[number] for number in full],
                target.spec.name,
                [messages[number] for number in full],
            )
            for number, answer in zip(full, again, strict=True):
                answers[number] = answer
            if not all(isinstance(answer, QueueFullError) for answer in again):
                until = clock.monotonic() + PUBLISH_TIMEOUT

    async def _carry(
        self, target: Queue, letters: Sequence[Message], sent: Sequence[Outgoing]
    ) -> Sequence[DriverError | None]:
        """Publish to another driver, then remove: a kill in between leaves a letter in both.

        Such a letter is not published again as long as the target can show that it is there.
        """
        if self._progress.is_recorded:
            for letter, message in zip(letters, sent, strict=True):
                message.headers[MOVED_FROM] = place_of(letter)
        there = await self._already_in(target, letters)
        missing = [number for number, letter in enumerate(letters) if place_of(letter) not in there]
        answers: list[DriverError | None] = [None] * len(letters)
        if missing:
            told = await self._places.put(
                target, [sent[number] for number in missing], [letters[number] for number in missing]
            )
            for number, answer in zip(missing, told, strict=True):
                answers[number] = answer
        gone = [letter for letter, answer in zip(letters, answers, strict=True) if answer is None]
        if gone:
            await removed(self._places.driver, self._places.source.spec.name, gone)
        return answers

    async def _already_in(self, target: Queue, letters: Sequence[Message]) -> set[HeaderValue]:
        """The places of letters in doubt that another process of this batch has published before it died."""
        ids = [letter.id for letter in letters if letter.id in self._again]
        if not ids or not target.driver.capabilities.has("find"):
            return set()
        shown = await target.driver.find(target.spec.name, ids)
        batch = self._progress.batch.id
        return {each.headers.get(MOVED_FROM, "") for each in shown if each.headers.get(BATCH) == batch} - {""}
