"""Taking: the letters of a batch are received, published and acked, on drivers without ``transfer``.

A kill in between leaves a letter in both queues, and one that is deleted is gone at once. Letters that are not chosen
are held until the end, and then go back to their places.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from tasuki.contracts.driver import Ack, Receipt, Received, Release, Settlement
from tasuki.dead.batches.batch_lease import Driving
from tasuki.dead.held import Pace, settle_all
from tasuki.dead.moving.failed_again import Returns
from tasuki.dead.moving.places import Places
from tasuki.dead.moving.transferring import after_letter
from tasuki.dead.rules import steps
from tasuki.dead.rules.forms import CHUNK, moved_form
from tasuki.dead.selection import Chooser
from tasuki.errors import DriverError, HeldBackError
from tasuki.queues.queue import Queue

_WAIT = 1.0
"""Seconds for which the next letters are waited for."""
_TRIES = 10
_PATIENCE = 5.0
"""Seconds beyond their lease for which letters are waited for that a killed process held."""


class Taking:
    """Moves letters until none is left. Every verb may raise HaltedError and DriverError."""

    def __init__(self, driving: Driving, places: Places, chooser: Chooser, returns: Returns) -> None:
        self._driving, self._places, self._chooser, self._returns = driving, places, chooser, returns
        self._source = places.source
        self._held: list[Receipt] = []
        """Of letters that stay; there may be very many."""
        self._empty = 0
        """Receives in a row that gave nothing."""
        self._pace = Pace(self._source, None, driving.clock, self._held)

    async def run(self) -> None:
        """Move all; the batch is finished when this returns, or its canary has stopped it."""
        driving = self._driving
        driving.batch = replace(driving.batch, stayed=0)
        driving.renew(self._pace.renew, self._pace.step)  # else held letters come again while it waits
        try:
            if await self._take_all():
                return
        finally:
            await settle_all(self._source, [Release(receipt) for receipt in reversed(self._held)])
        await driving.write(replace(driving.batch, seen=self._chooser.passed, unclear=self._chooser.unclear))
        await self._returns.count(driving)
        await driving.end(steps.finished(driving.batch, await driving.now()))

    async def _take_all(self) -> bool:
        """Whether the canary has stopped it."""
        driving, name = self._driving, self._source.spec.name
        until = driving.clock.monotonic() + (self._source.spec.lease + _PATIENCE if driving.batch.doubt else 0.0)
        # Chosen letters may be behind others that another reader had when they were counted.
        left = None if driving.batch.ids else driving.batch.there
        if left is not None:
            left -= driving.batch.moved - len(driving.batch.doubt)
        while (left is None or left > 0) and not self._chooser.has_all:
            await driving.sure()
            most = steps.most_now(driving.batch, CHUNK)
            if driving.batch.limit is not None:
                most = min(most, driving.batch.limit - driving.batch.moved)
            if most <= 0:
                break
            received = await self._places.driver.receive(name, most if left is None else min(most, left), _WAIT)
            if not received:
                if driving.clock.monotonic() >= until and not await self._is_slow():
                    break
                await driving.rest(_WAIT)
                continue
            self._empty = 0
            left = None if left is None else left - len(received)
            moved = await self._move(received)
            await self._pace.keep(0, is_last=True)
            if moved:
                await driving.pace(moved)
            if await self._returns.stop(driving):
                return True
        return False

    async def _is_slow(self) -> bool:
        """Whether the broker says that letters are ready, which it has not given. Raises HeldBackError: for long."""
        self._empty += 1
        ready = (await self._places.driver.depth(self._source.spec.name)).ready
        if ready and self._empty > _TRIES:
            text = f"queue {self._source.id!r} hands out no more messages now, and {ready} are left: look at its limit"
            raise HeldBackError(text, driver=self._source.driver.name, queue=self._source.id)
        return ready > 0

    async def _move(self, received: Sequence[Received]) -> int:
        driving = self._driving
        releases = {each.receipt: Release(each.receipt) for each in received}
        acks: list[Settlement] = []
        trouble: DriverError | None = None
        stayed, problem = 0, driving.batch.problem
        try:
            before = len(self._held)
            chosen = self._chosen(received)
            for receipt in self._held[before:]:
                del releases[receipt]
            if not chosen:
                return 0
            await driving.announce(replace(steps.about(driving.batch, [each.id for each, _ in chosen]), kept=False))
            await driving.sure()
            for (letter, _), answer in zip(chosen, await self._publish(chosen), strict=True):
                if answer is None:
                    acks.append(Ack(letter.receipt))
                    del releases[letter.receipt]
                elif answer.retryable:
                    trouble = answer
                else:
                    stayed, problem = stayed + 1, str(answer)
                    self._held.append(letter.receipt)
                    del releases[letter.receipt]
        finally:
            await settle_all(self._source, [*acks, *reversed(releases.values())])
        await driving.write(replace(steps.settled(driving.batch, len(acks), 0, stayed), problem=problem))
        if trouble is not None:
            raise trouble
        return len(acks)

    def _chosen(self, received: Sequence[Received]) -> list[tuple[Received, Queue | None]]:
        """The letters that are moved, each with its queue (None: it is deleted); the others are held."""
        chosen: list[tuple[Received, Queue | None]] = []
        driving = self._driving
        for each in received:
            if not self._chooser.takes(each):
                self._held.append(each.receipt)
            elif driving.batch.act == "delete":
                chosen.append((each, None))
            elif (target := self._places.target(each)) is not None:
                chosen.append((each, target))
            else:
                driving.batch = replace(driving.batch, stayed=driving.batch.stayed + 1)
                self._held.append(each.receipt)
        return chosen

    async def _publish(self, chosen: Sequence[tuple[Received, Queue | None]]) -> list[DriverError | None]:
        batch, now = self._driving.batch, self._driving.clock.time()
        answers: dict[int, DriverError | None] = {}
        by_queue: dict[Queue, list[int]] = {}
        for number, (_, target) in enumerate(chosen):
            if target is None:
                answers[number] = None
            else:
                by_queue.setdefault(target, []).append(number)
        for queue, numbers in by_queue.items():
            letters = [chosen[number][0] for number in numbers]
            sent = [moved_form(letter, batch.act, batch.id, now, queue.spec) for letter in letters]
            after = [after_letter(letter) for letter in letters]
            answers.update(zip(numbers, await self._places.put(queue, sent, after), strict=True))
        return [answers[number] for number in range(len(chosen))]
