"""Insisting: repeats the writes that must be confirmed before the ack of a message, while they may succeed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from tasuki.backoff import is_told, pause_after
from tasuki.clock import Clock
from tasuki.consumers.delivery import Delivery
from tasuki.consumers.fetching.window import Keeping
from tasuki.errors import StaleReceiptError, nature_of
from tasuki.observe.trace import CURRENT

_log = logging.getLogger("tasuki.consumer")

DEFECTIVE = 60.0
"""Seconds for which a write is repeated that fails by a defect; then its error is taken as final."""

End = Literal["done", "decided", "stopped", "lost", "stale"]
"""done: it succeeded · decided: a final error, so that it is left out · stopped: the consumer stops · lost: the lease
was · stale: the broker says that the delivery has ended."""

OnKept = Callable[[Delivery, Keeping], bool]
"""Gets a change; False: a delivery was not parked, as too many are."""


@dataclass(slots=True)
class Trouble:
    """Why a delivery is kept."""

    since: float
    """Monotonic time of the first failure."""
    what: str
    """What cannot be done yet."""
    error: str
    is_parked: bool = False


@dataclass(slots=True, eq=False)
class Write:
    """One write: ``do`` is called until it succeeds.

    ``what`` completes the sentence "cannot be …" of the log. ``must``: it cannot be left out, so that a final error
    keeps the delivery. ``is_late``: the message is acked already, so the write is owed, and no delivery is kept for it.
    """

    do: Callable[[], Awaitable[None]]
    what: str
    must: bool = False
    is_late: bool = False


class Insisting:
    """The writes of one run of a consumer.

    Args:
        clock: monotonic times.
        on_kept: gets the deliveries whose writes fail.
    """

    def __init__(self, clock: Clock, on_kept: OnKept) -> None:
        self._clock = clock
        self._on_kept = on_kept
        self.troubles: dict[Write, Trouble] = {}
        """Of the writes that have failed, oldest first; changed in the loop, copied by other threads."""
        self.is_over = False
        """The consumer has stopped: what a handler that outlasts it owes is tried once, for nothing would end it."""

    async def until_done(self, delivery: Delivery, write: Write) -> End:
        """Write until it succeeds or is decided. This costs no attempt, and the handler does not run again.

        A cancellation is the stop of the consumer.
        """
        CURRENT.set(delivery.trace)  # of this task alone
        failures = 0
        try:
            while write.is_late or not delivery.lost:
                try:
                    await _done(write)
                except StaleReceiptError:
                    return "stale"
                except Exception as error:
                    failures += 1
                    is_final = self._failed(delivery, write, error, failures)
                    if is_final and not write.must:
                        _log.error("cannot be %s, ever: %r", write.what, error, extra=delivery.log_fields())
                        return "decided"
                    if self.is_over:
                        _log.error("cannot be %s after the stop: %r", write.what, error, extra=delivery.log_fields())
                        return "stopped"
                    await asyncio.sleep(pause_after(error, failures, is_final=is_final))
                else:
                    return "done"
        except asyncio.CancelledError:
            _log.error("cannot be %s before the stop", write.what, extra=delivery.log_fields())
            return "stopped"
        finally:
            if failures:
                trouble = self.troubles.pop(write)
                change: Keeping = "paid" if write.is_late else "unparked" if trouble.is_parked else "ended"
                self._on_kept(delivery, change)
        return "lost"

    def _failed(self, delivery: Delivery, write: Write, error: Exception, failures: int) -> bool:
        """Note a failure; whether no repetition can heal it."""
        now, text = self._clock.monotonic(), repr(error)
        trouble = self.troubles.get(write)
        if trouble is None:
            trouble = self.troubles[write] = Trouble(now, write.what, text)
            self._on_kept(delivery, "owed" if write.is_late else "kept")
        trouble.error = text
        nature = nature_of(error)
        is_final = nature == "final" or (nature == "unknown" and now - trouble.since >= DEFECTIVE)
        if write.must and is_final and not trouble.is_parked:
            trouble.is_parked = self._on_kept(delivery, "parked")
        if is_told(failures) and (write.must or not is_final):
            _log.error("cannot be %s yet, kept: %r", write.what, error, extra=delivery.log_fields())
        return is_final


async def _done(write: Write) -> None:
    """Write once; a cancellation that is not ours is a failure: a client library lost its connection."""
    try:
        await write.do()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ConnectionError("the write was cancelled by what makes it") from error
