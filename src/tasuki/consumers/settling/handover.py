"""Handover: sends a dead letter or reply together with the ack of its message, in one step where the broker can.

Each batch starts when the one before has returned, so that many messages cost few round trips.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tasuki.contracts.driver import Move, Outgoing, Receipt
from tasuki.errors import DriverError, StaleReceiptError
from tasuki.queues.middleware import Carry
from tasuki.queues.queue import Queue


class Moves:
    """The moves of one consumer, joined into batches."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._waiting: list[tuple[Move, asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None

    def can_reach(self, target: Queue) -> bool:
        """Whether a move to that queue is one step."""
        driver = self._queue.driver
        return target.driver is driver and driver.is_move_atomic(self._queue.spec.name, target.spec.name)

    async def move(self, move: Move) -> None:
        """Ack and publish. Raises the driver's error; a cancellation before it is sent stops it."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((move, done))
        if self._running is None:
            self._running = loop.create_task(self._run(), name=f"moves from {self._queue.id}")
        await done

    async def _run(self) -> None:
        size = self._queue.driver.capabilities.max_batch
        try:
            while self._waiting:
                wanted = [item for item in self._waiting if not item[1].done()]
                batch, self._waiting = wanted[:size], wanted[size:]
                if batch:
                    await self._send([move for move, _ in batch], [done for _, done in batch])
        finally:
            self._running = None

    async def _send(self, moves: Sequence[Move], waiting: Sequence[asyncio.Future[None]]) -> None:
        results: Sequence[Exception | None]
        try:
            results = await self._queue.driver.move(self._queue.spec.name, moves) or [None] * len(moves)
            if len(results) != len(moves):
                raise ValueError(f"the driver returned {len(results)} results for {len(moves)} moves")
        except Exception as problem:  # not only DriverError: a driver's defect must not leave its callers waiting
            results = [problem] * len(moves)
        for done, error in zip(waiting, results, strict=True):
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)


class Handover:
    """The messages that follow one delivery; ``is_acked``: the delivery was acked in the same step."""

    def __init__(self, moves: Moves, receipt: Receipt) -> None:
        self.is_acked = False
        self._is_unknown = False
        self._moves = moves
        self._receipt = receipt

    def to(self, target: Queue) -> Carry | None:
        """The way into a queue that takes the ack along; None: there is none, so the ack comes after."""
        if not self._moves.can_reach(target):
            return None

        async def carry(messages: Sequence[Outgoing]) -> list[DriverError | None]:
            try:
                await self._moves.move(Move(self._receipt, target.spec.name, tuple(messages)))
            except StaleReceiptError:
                if not self._is_unknown:
                    raise  # else the move was carried out, and only its answer was lost
            except DriverError as error:
                self._is_unknown |= error.outcome == "unknown"
                return [error] * len(messages)
            self.is_acked = True
            return [None] * len(messages)

        return carry
