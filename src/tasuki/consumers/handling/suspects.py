"""Suspects: messages whose last delivery ended without a settlement: each of them may have killed its worker.

A process handles one suspect at a time, and records its start at the broker before the handler runs. If the worker then
dies, only this message is charged with an attempt.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable

from tasuki.consumers.delivery import Delivery
from tasuki.contracts.driver import Settlement
from tasuki.handlers.thread_pool import tell
from tasuki.observe.events import SUSPENDED, EventRing

_log = logging.getLogger("tasuki.consumer")

PATIENCE = 300.0
"""Seconds for which other suspects wait for a suspect's handler: few messages kill their worker later."""


class SuspectGate:
    """Admits one suspect at a time; all consumers of a process share it, whatever event loops they run on."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Open the gate and forget all waiters; for a forked child, whose parent has them."""
        self._lock = threading.RLock()
        self._holder: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = []

    def take(self) -> bool:
        """Close the gate behind the caller; False if another suspect is being handled."""
        with self._lock:
            if self._is_closed():
                return False
            self._holder = asyncio.get_running_loop()
            return True

    def _is_closed(self) -> bool:
        """Whether a suspect is being handled; a handler ends with its event loop."""
        return self._holder is not None and not self._holder.is_closed()

    def free(self) -> None:
        """Open the gate, and wake all waiters; the first one takes it."""
        with self._lock:
            self._holder = None
            waiting, self._waiting = self._waiting, []
        for loop, wake in waiting:
            tell(loop, wake)

    def wait(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` once, on the running loop, when the gate is open."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._is_closed():
                self._waiting.append((loop, wake))
                return
        loop.call_soon(wake)


PROCESS_GATE = SuspectGate()
os.register_at_fork(after_in_child=PROCESS_GATE.reset)


class Suspects:
    """The suspects of one consumer: at most one has its turn, the others are parked.

    A turn ends when the handler has ended and the broker has its settlement: the next suspect may kill the process, and
    with it an ack that is still on its way. A turn also ends after ``PATIENCE``: the handler may run for hours, and no
    other process gets the parked messages.
    """

    def __init__(self, gate: SuspectGate, events: EventRing) -> None:
        self.parked: deque[Delivery] = deque()
        self.on_turn: Callable[[Delivery], None] = _nothing
        """Called with the first parked suspect when it may try again; it is then no longer parked."""
        self.current: Delivery | None = None
        """The suspect that has its turn."""
        self._gate = gate
        self._events = events
        self._called: Delivery | None = None
        self._is_waiting = False
        self._has_ended = self._is_settled = False
        self._patience: asyncio.TimerHandle

    def begin(self, delivery: Delivery) -> bool:
        """Give a suspect its turn; if it is not its turn yet, park it and return False."""
        is_taken = self._gate.take()
        if is_taken:
            self.current = delivery
            self._has_ended = self._is_settled = False
            self._patience = asyncio.get_running_loop().call_later(PATIENCE, self._give_way, delivery)
        elif delivery is self._called:
            self.parked.appendleft(delivery)
        else:
            self.parked.append(delivery)
            self._events.add(SUSPENDED, delivery.received.id, delivery.received.attempt)
        self._wait()
        return is_taken

    def ended(self, delivery: Delivery) -> None:
        """The handler of a suspect has ended, or never ran."""
        if delivery is self.current:
            self._has_ended = True
            self._pass_on()

    def settled(self, batch: Iterable[Settlement]) -> None:
        """These deliveries are settled at the broker, or have been given up."""
        current = self.current
        if current is not None and any(settlement.receipt == current.received.receipt for settlement in batch):
            self._is_settled = True
            self._pass_on()

    def take_back(self) -> list[Delivery]:
        """All parked suspects, oldest first; none is parked after it."""
        parked = list(self.parked)
        self.parked.clear()
        return parked

    def close(self) -> None:
        """End the current turn, whatever its handler does; for a consumer that has stopped."""
        self._has_ended = self._is_settled = True
        self._pass_on()

    def _pass_on(self) -> None:
        if self._has_ended and self._is_settled:
            self._end_turn()

    def _give_way(self, delivery: Delivery) -> None:
        if delivery is self.current and not self._has_ended:
            _log.info("a message whose worker died runs for long: other such messages no longer wait for it",
                      extra=delivery.log_fields())  # fmt: skip
            self._end_turn()

    def _end_turn(self) -> None:
        if self.current is not None:
            self.current = None
            self._patience.cancel()
            self._gate.free()
            self._wait()

    def _wait(self) -> None:
        """Wait for the next turn if a suspect is parked; after its own turn, so behind the other consumers."""
        if self.parked and self.current is None and not self._is_waiting:
            self._is_waiting = True
            self._gate.wait(self._call_first)

    def _call_first(self) -> None:
        self._is_waiting = False
        if self.parked:
            self._called = first = self.parked.popleft()
            self.on_turn(first)  # calls ``begin``, which waits for the next one


def _nothing(delivery: Delivery) -> None:
    """Nothing is parked yet."""
