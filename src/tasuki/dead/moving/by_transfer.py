"""Moving: the letters of a batch leave their queue, each in one step, on drivers with ``transfer``."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from tasuki.contracts.driver import Outgoing, Transfer, place_of
from tasuki.dead.batches.batch_lease import Driving
from tasuki.dead.moving.failed_again import Returns
from tasuki.dead.moving.places import Places, removed
from tasuki.dead.moving.transferring import after_letter
from tasuki.dead.rules import steps
from tasuki.dead.rules.batch import KEPT
from tasuki.dead.rules.forms import CHUNK, Note, has_room, moved_form, note_of, weight_of
from tasuki.dead.selection import Chooser, cause_of
from tasuki.dead.walk import Search, Walk
from tasuki.errors import DriverError, MessageNotFoundError
from tasuki.message import BATCH, MOVED_FROM, HeaderValue, Message
from tasuki.queues.queue import Queue


class Letter(NamedTuple):
    """A letter that is moved: to a queue, or to the trash (None)."""

    message: Message
    target: Queue | None
    note: Note


class Moving:
    """Moves letters until none is left. Every verb may raise HaltedError and DriverError."""

    def __init__(self, driving: Driving, places: Places, chooser: Chooser, returns: Returns) -> None:
        self._driving, self._places, self._chooser, self._returns = driving, places, chooser, returns
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

    async def run(self) -> None:
        """Move all; the batch is finished when this returns, or its canary has stopped it."""
        driving = self._driving
        if driving.batch.act == "delete" and driving.batch.kept:
            await self._places.declare_trash()
            self._ahead = await driving.now() - driving.clock.monotonic()
        self._begin_walk()
        while True:
            await driving.sure()
            chunk = await self._next(steps.most_now(driving.batch, CHUNK))
            if not chunk:
                break
            moved = await self._move(chunk)
            await driving.pace(moved)
            if await self._returns.stop(driving):
                return
        await driving.write(replace(driving.batch, seen=self._chooser.passed, unclear=self._chooser.unclear))
        await self._returns.count(driving)
        await driving.end(steps.finished(driving.batch, await driving.now()))

    def _choose_walk(self) -> Walk | Search:
        """Through what it has to look at: the letters of its ids, of its one cause, or all."""
        driver, name, batch = self._places.driver, self._places.source.spec.name, self._driving.batch
        if self._chooser.names:
            return Search(driver, name, self._chooser.names.ids)
        return Walk(driver, name, cause_of(batch) if batch.among is not None else "")

    def _begin_walk(self) -> None:
        """From the oldest letter on: as many as were there when the batch began are looked at, and no newer ones."""
        batch = self._driving.batch
        there = batch.there if batch.among is None else batch.among
        if there is not None and not batch.ids:
            self._left_to_see = there - batch.moved - batch.gone + len(batch.doubt)
        self._driving.batch = replace(batch, stayed=0)
        self._chooser.begin()

    async def _next(self, most: int) -> list[Letter]:
        """The next letters to move: up to ``most``; none: this is the end."""
        chunk: list[Letter] = []
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
            if not steps.may_take(self._driving.batch, message.id, fresh):
                self._is_full = True
                break
            fresh += message.id not in self._driving.batch.doubt
            chunk.append(letter)
            weight += weight_of(letter.note)
        return chunk

    async def _turn(self) -> bool:
        """Get the next page; False: there is none, or all letters have been found."""
        if self._chooser.has_all or (self._left_to_see is not None and self._left_to_see <= 0):
            return False
        await self._driving.sure()
        page = await self._walk.page()
        if self._walk.restarts != self._restarts:
            self._restarts = self._walk.restarts
            self._begin_walk()
        self._page = list(page[: self._left_to_see])
        return bool(self._page)

    def _taken(self, message: Message) -> Letter | None:
        batch = self._driving.batch
        if not self._chooser.takes(message):
            return None
        if batch.act == "delete":
            return Letter(message, None, note_of(message, batch.act))
        target = self._places.target(message)
        if target is None:
            self._driving.batch = replace(batch, stayed=batch.stayed + 1)
            return None
        return Letter(message, target, note_of(message, batch.act))

    async def _move(self, chunk: Sequence[Letter]) -> int:
        """Note the letters, move them, and count them; returns how many were moved."""
        driving, batch = self._driving, self._driving.batch
        ids = [letter.message.id for letter in chunk]
        self._again = again = steps.again_of(batch, ids)
        kept = self._is_kept(chunk)
        if kept:
            notes = {letter.message.id: letter.note for letter in chunk}
            await driving.shelf.put_notes(batch.id, batch.chunks, notes)
        targets = dict.fromkeys((*batch.targets, *(letter.target.id for letter in chunk if letter.target)))
        chunks = batch.chunks + kept
        facts = {"kept": kept, "chunks": chunks, "targets": tuple(targets), "seen": self._chooser.passed}
        await driving.announce(replace(steps.about(batch, ids), **facts))
        await driving.sure()
        answers = await self._put(chunk, is_kept=kept)
        moved = gone = 0
        trouble: DriverError | None = None
        for letter, answer in zip(chunk, answers, strict=True):
            if answer is None or (isinstance(answer, MessageNotFoundError) and letter.message.id in again):
                moved += 1
            elif isinstance(answer, MessageNotFoundError):
                gone += 1
            else:
                self._walk.stays(letter.message)
                trouble = answer
        stayed = 0 if trouble is not None and trouble.retryable else len(chunk) - moved - gone
        settled = steps.settled(driving.batch, moved, gone, stayed)
        await driving.write(replace(settled, problem=str(trouble) if trouble else settled.problem))
        if trouble is not None and trouble.retryable:
            raise trouble
        return moved

    def _is_kept(self, chunk: Sequence[Letter]) -> bool:
        """Whether all letters can be brought back, these included."""
        batch = self._driving.batch
        if not batch.kept or batch.moved + len(chunk) > KEPT:
            return False
        places = self._places
        return all(places.reaches(each.target) if each.target else places.has_trash for each in chunk)

    async def _put(self, chunk: Sequence[Letter], *, is_kept: bool) -> list[DriverError | None]:
        """Put each letter into its place; one answer for each."""
        batch, driver, source = self._driving.batch, self._places.driver, self._places.source
        if batch.act == "delete" and not is_kept:
            count = await removed(driver, source.spec.name, [letter.message for letter in chunk])
            gone = MessageNotFoundError("another process was faster", driver=driver.name, queue=source.spec.name)
            return [None if number < count else gone for number in range(len(chunk))]
        clock = self._driving.clock  # the trash is emptied by the time of the store
        now = self._ahead + clock.monotonic() if batch.act == "delete" else clock.time()
        groups: dict[Queue | None, list[int]] = {}
        for number, letter in enumerate(chunk):
            groups.setdefault(letter.target, []).append(number)
        answers: dict[int, DriverError | None] = {}
        for target, numbers in groups.items():
            letters = [chunk[number].message for number in numbers]
            to = None if target is None else target.spec
            sent = [moved_form(letter, batch.act, batch.id, now, to) for letter in letters]
            answers.update(zip(numbers, await self._put_all(target, letters, sent), strict=True))
        return [answers[number] for number in range(len(chunk))]

    async def _put_all(
        self, target: Queue | None, letters: Sequence[Message], sent: Sequence[Outgoing]
    ) -> Sequence[DriverError | None]:
        """Into one queue; None: the trash."""
        places = self._places
        if target is None:
            return await self._transfer(places.trash, letters, sent)
        if not places.reaches(target):
            return await self._carry(target, letters, sent)
        after = [after_letter(letter) for letter in letters]

        async def carry(messages: Sequence[Outgoing]) -> list[DriverError | None]:
            return list(await self._transfer(target.spec.name, letters, messages))

        return await places.put(target, sent, after, carry)

    async def _transfer(
        self, to: str, letters: Sequence[Message], sent: Sequence[Outgoing]
    ) -> Sequence[DriverError | None]:
        pairs = zip(letters, sent, strict=True)
        batch = [Transfer(letter.id, to, message, place_of(letter)) for letter, message in pairs]
        return await self._places.transfer(self._places.source.spec.name, batch)

    async def _carry(
        self, target: Queue, letters: Sequence[Message], sent: Sequence[Outgoing]
    ) -> Sequence[DriverError | None]:
        """Publish to another driver, then remove: a kill in between leaves a letter in both.

        Such a letter is not published again as long as the target can show that it is there.
        """
        for letter, message in zip(letters, sent, strict=True):
            message.headers[MOVED_FROM] = place_of(letter)
        there = await self._already_in(target, letters)
        missing = [number for number, letter in enumerate(letters) if place_of(letter) not in there]
        after = [after_letter(letters[number]) for number in missing]
        answers: list[DriverError | None] = [None] * len(letters)
        if missing:
            told = await self._places.put(target, [sent[number] for number in missing], after)
            for number, answer in zip(missing, told, strict=True):
                answers[number] = answer
        gone = [letter for letter, answer in zip(letters, answers, strict=True) if answer is None]
        if gone:
            await removed(self._places.driver, self._places.source.spec.name, gone)
        return answers

    async def _already_in(self, target: Queue, letters: Sequence[Message]) -> set[HeaderValue]:
        """The places of letters in doubt that another process of this batch has published before it died."""
        ids = [letter.id for letter in letters if letter.id in self._again]
        if not ids or not target.driver.capabilities.find:
            return set()
        shown = await target.driver.find(target.spec.name, ids)
        batch = self._driving.batch.id
        return {each.headers.get(MOVED_FROM, "") for each in shown if each.headers.get(BATCH) == batch} - {""}
