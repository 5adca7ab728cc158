"""By receive: letters are received, published and acked, on drivers without ``transfer``, and under a limit.

A kill in between leaves a letter in both queues, and one that is deleted is gone at once. Letters that are not chosen
are held until the end, and then go back to their places.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from tasuki.contracts.driver import Ack, Depth, Outgoing, Received, Release, Settlement
from tasuki.dead import steps
from tasuki.dead.forms import CHUNK
from tasuki.dead.moving.moving import FailedAgain, Letter, Moving, Progress
from tasuki.dead.moving.places import Places
from tasuki.dead.peek_by_receive import Held, settle_all
from tasuki.dead.selection import Chooser
from tasuki.errors import DriverError, HeldBackError
from tasuki.queues.policy import driver_limits, limit_facts, limit_text
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


class ByReceive(Moving[Received]):
    """On every driver."""

    def __init__(
        self, progress: Progress, places: Places, chooser: Chooser, failed_again: FailedAgain | None = None
    ) -> None:
        super().__init__(progress, places, chooser, failed_again)
        self._source = places.source
        self._held = Held(self._source, progress.clock)
        """Letters that stay."""
        self._patience = _patience(self._source, is_recorded=progress.is_recorded)
        self._last = self._until = progress.clock.monotonic()
        """When a letter came, and until when others are waited for in any case."""
        self._left: int | None = None
        """Letters that it has to look at; None: as many as come."""

    async def _begin(self) -> None:
        progress = self._progress
        progress.batch = batch = replace(progress.batch, stayed=0)
        progress.renew(self._held.renew, self._held.step)  # else held letters come again while it waits
        if batch.doubt:
            self._until += self._source.spec.lease + _AFTER_LEASE
        # Chosen letters may be behind others that another reader had when they were counted.
        if batch.there is not None and not batch.ids:
            self._left = batch.there - batch.moved + len(batch.doubt)

    async def _next(self) -> list[Letter[Received]]:
        progress, chosen = self._progress, list[Letter[Received]]()
        while not chosen and (most := self._most()) > 0:
            await progress.sure()
            await self._held.renew()
            received = await self._places.driver.receive(self._source.spec.name, most, _WAIT)
            if not received:
                if progress.clock.monotonic() >= self._until and not await self._is_slow():
                    break
                await progress.rest(_WAIT)
                continue
            self._last = progress.clock.monotonic()
            self._left = None if self._left is None else self._left - len(received)
            for each in received:
                if (letter := self._taken(each)) is None:
                    self._held.receipts.append(each.receipt)
                else:
                    chosen.append(letter)
        return chosen

    def _most(self) -> int:
        """Letters to receive; 0: this is the end."""
        batch = self._progress.batch
        if self._chooser.has_all:
            return 0
        most = steps.most_now(batch, CHUNK)
        most = most if self._left is None else min(most, self._left)
        return most if batch.limit is None else min(most, batch.limit - batch.moved)

    async def _end(self) -> None:
        await self._held.release()

    async def _is_slow(self) -> bool:
        """Whether the broker says that letters are ready, which it has not given.

        Raises HeldBackError: for long, and they were to be moved.
        """
        depth = await self._places.driver.depth(self._source.spec.name)
        if not depth.ready or self._progress.clock.monotonic() - self._last <= self._patience:
            return depth.ready > 0
        if driver_limits(self._source.spec) or self._progress.is_recorded:
            raise self._held_back(depth)
        return False

    def _held_back(self, depth: Depth) -> HeldBackError:
        source, batch, strangers = self._source, self._progress.batch, len(self._held.receipts)
        left = depth.ready if batch.limit is None else min(depth.ready, batch.limit - batch.moved)
        if not driver_limits(source.spec):
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

    async def _move(self, chunk: Sequence[Letter[Received]]) -> int:
        progress = self._progress
        releases = {letter.message.receipt: Release(letter.message.receipt) for letter in chunk}
        acks: list[Settlement] = []
        trouble: DriverError | None = None
        stayed, problem = 0, progress.batch.problem
        try:
            ids = [letter.message.id for letter in chunk]
            await progress.announce(replace(steps.about(progress.batch, ids), kept=False))
            await progress.sure()
            answers = await self._put_each(chunk, progress.clock.time())
            for (letter, *_), answer in zip(chunk, answers, strict=True):
                if answer is None:
                    acks.append(Ack(letter.receipt))
                elif answer.retryable or not progress.is_recorded:
                    trouble = trouble or answer
                    continue
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

    async def _put(
        self, target: Queue | None, letters: Sequence[Received], sent: Sequence[Outgoing]
    ) -> Sequence[DriverError | None]:
        return [None] * len(sent) if target is None else await self._places.put(target, sent, letters)


def _patience(source: Queue, *, is_recorded: bool) -> float:
    limits = driver_limits(source.spec)
    if not limits:
        return _LONG if is_recorded else _SHORT
    slowest = max((1.1 / each.rate for each in limits if each.rate is not None), default=0.0)
    return max(_LONG, slowest if slowest <= _LONGEST else 0.0)
