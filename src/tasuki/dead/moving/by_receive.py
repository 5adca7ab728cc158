"""By receive: letters are received, published and acked, on drivers without ``transfer``, and under a limit.

A kill in between leaves a letter in both queues, and one that is deleted is gone at once. Letters that are not chosen
are held until the end, and then go back to their places.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from tasuki.contracts.driver import Ack, Depth, Limit, Received, Release, Settlement
from tasuki.dead.held import Held, settle_all
from tasuki.dead.moving.failed_again import FailedAgain
from tasuki.dead.moving.places import Places
from tasuki.dead.moving.progress import Progress
from tasuki.dead.rules import steps
from tasuki.dead.rules.forms import CHUNK
from tasuki.dead.selection import Chooser
from tasuki.errors import DriverError, HeldBackError
from tasuki.queues.limits import limit_facts, limit_text
from tasuki.queues.queue import Queue

_WAIT = 1.0
"""Seconds for which the next letters are waited for."""
_SHORT, _LONG = 2.0, 10.0
"""Seconds for which letters are waited for that are ready: where a broker may have counted wrong, and where a batch is
to move them all, or a place of the limit may become free."""
_LONGEST = 60.0
"""At a low rate, they are waited for as long as the rate takes, unless that is longer."""
_AFTER_LEASE = 5.0
"""Seconds beyond their lease for which letters are waited for that a killed process held."""


class ByReceive:
    """Moves letters until none is left. Every verb may raise HaltedError and DriverError."""

    def __init__(
        self, progress: Progress, places: Places, chooser: Chooser, failed_again: FailedAgain | None = None
    ) -> None:
        self._progress, self._places, self._chooser, self._failed_again = progress, places, chooser, failed_again
        self._source = places.source
        self._held = Held(self._source, progress.clock)
        """Letters that stay."""
        self._patience = _patience(self._source, is_recorded=progress.is_recorded)
        self._last = progress.clock.monotonic()
        """When a letter came."""

    async def run(self) -> None:
        """Move all; the batch is finished when this returns, or its canary has stopped it."""
        progress = self._progress
        progress.batch = replace(progress.batch, stayed=0)
        progress.renew(self._held.renew, self._held.step)  # else held letters come again while it waits
        try:
            if await self._take_all():
                return
        finally:
            await self._held.release()
        await progress.write(replace(progress.batch, seen=self._chooser.passed, unclear=self._chooser.unclear))
        if self._failed_again is not None:
            await self._failed_again.count(progress)
        await progress.end(steps.finished(progress.batch, await progress.now()))

    async def _take_all(self) -> bool:
        """Whether the canary has stopped it."""
        progress, name = self._progress, self._source.spec.name
        until = progress.clock.monotonic() + (self._source.spec.lease + _AFTER_LEASE if progress.batch.doubt else 0.0)
        # Chosen letters may be behind others that another reader had when they were counted.
        left = None if progress.batch.ids else progress.batch.there
        if left is not None:
            left -= progress.batch.moved - len(progress.batch.doubt)
        while (left is None or left > 0) and not self._chooser.has_all:
            await progress.sure()
            most = steps.most_now(progress.batch, CHUNK)
            if progress.batch.limit is not None:
                most = min(most, progress.batch.limit - progress.batch.moved)
            if most <= 0:
                break
            received = await self._places.driver.receive(name, most if left is None else min(most, left), _WAIT)
            if not received:
                if progress.clock.monotonic() >= until and not await self._is_slow():
                    break
                await progress.rest(_WAIT)
                continue
            self._last = progress.clock.monotonic()
            left = None if left is None else left - len(received)
            moved = await self._move(received)
            await self._held.renew()
            if moved:
                await progress.pace(moved)
            if self._failed_again is not None and await self._failed_again.stop(progress):
                return True
        return False

    async def _is_slow(self) -> bool:
        """Whether the broker says that letters are ready, which it has not given.

        Raises HeldBackError: for long, and they were to be moved.
        """
        depth = await self._places.driver.depth(self._source.spec.name)
        if not depth.ready or self._progress.clock.monotonic() - self._last <= self._patience:
            return depth.ready > 0
        if limits_of(self._source) or self._progress.is_recorded:
            raise self._held_back(depth)
        return False

    def _held_back(self, depth: Depth) -> HeldBackError:
        source, batch, strangers = self._source, self._progress.batch, len(self._held.receipts)
        left = depth.ready if batch.limit is None else min(depth.ready, batch.limit - batch.moved)
        if not limits_of(source):
            text = f"queue {source.id!r} hands out no more messages now, and {left} are left: look at its limit"
            return HeldBackError(text, driver=source.driver.name, queue=source.id)
        others = (depth.in_flight or 0) - strangers
        counts = [f"{batch.moved} sent back", f"{left} left"]
        counts += [f"{others} held by consumers"] if others > 0 else []
        counts += [f"{strangers} from no queue of this project, which take part of it"] if strangers else []
        return HeldBackError(
            f"the limit of queue {source.id!r} ({limit_text(limit_facts(source.spec, source.policy)['limit'])}) hands "
            f"out no more messages now: {', '.join(counts)}; do it again later, or take the limit off the queue for "
            "this time",
            driver=source.driver.name,
            queue=source.id,
        )

    async def _move(self, received: Sequence[Received]) -> int:
        progress = self._progress
        releases = {each.receipt: Release(each.receipt) for each in received}
        acks: list[Settlement] = []
        trouble: DriverError | None = None
        stayed, problem = 0, progress.batch.problem
        try:
            before = len(self._held.receipts)
            chosen = self._chosen(received)
            for receipt in self._held.receipts[before:]:
                del releases[receipt]
            if not chosen:
                return 0
            await progress.announce(replace(steps.about(progress.batch, [each.id for each, _ in chosen]), kept=False))
            await progress.sure()
            for (letter, _), answer in zip(chosen, await self._publish(chosen), strict=True):
                if answer is None:
                    acks.append(Ack(letter.receipt))
                    del releases[letter.receipt]
                elif answer.retryable or not progress.is_recorded:
                    trouble = trouble or answer
                else:
                    stayed, problem = stayed + 1, str(answer)
                    self._held.receipts.append(letter.receipt)
                    del releases[letter.receipt]
        finally:
            await settle_all(self._source, [*acks, *reversed(releases.values())])
        await progress.write(replace(steps.settled(progress.batch, len(acks), 0, stayed), problem=problem))
        if trouble is not None:
            raise trouble
        return len(acks)

    def _chosen(self, received: Sequence[Received]) -> list[tuple[Received, Queue | None]]:
        """The letters that are moved, each with its queue (None: it is deleted); the others are held."""
        chosen: list[tuple[Received, Queue | None]] = []
        progress = self._progress
        for each in received:
            if not self._chooser.takes(each):
                self._held.receipts.append(each.receipt)
            elif progress.batch.act == "delete":
                chosen.append((each, None))
            elif (target := self._places.target(each)) is not None:
                chosen.append((each, target))
            else:
                progress.batch = replace(progress.batch, stayed=progress.batch.stayed + 1)
                self._held.receipts.append(each.receipt)
        return chosen

    async def _publish(self, chosen: Sequence[tuple[Received, Queue | None]]) -> list[DriverError | None]:
        now = self._progress.clock.time()
        answers: dict[int, DriverError | None] = {}
        by_queue: dict[Queue, list[int]] = {}
        for number, (_, target) in enumerate(chosen):
            if target is None:
                answers[number] = None
            else:
                by_queue.setdefault(target, []).append(number)
        for queue, numbers in by_queue.items():
            letters = [chosen[number][0] for number in numbers]
            sent = [self._places.form(letter, now, queue.spec) for letter in letters]
            answers.update(zip(numbers, await self._places.put(queue, sent, letters), strict=True))
        return [answers[number] for number in range(len(chosen))]


def limits_of(source: Queue) -> list[Limit]:
    """The limits of a queue that its driver keeps."""
    return [each for each in (source.spec.limit, source.spec.lane_limit) if each is not None]


def _patience(source: Queue, *, is_recorded: bool) -> float:
    limits = limits_of(source)
    if not limits:
        return _LONG if is_recorded else _SHORT
    slowest = max((1.1 / each.rate for each in limits if each.rate is not None), default=0.0)
    return max(_LONG, slowest if slowest <= _LONGEST else 0.0)
