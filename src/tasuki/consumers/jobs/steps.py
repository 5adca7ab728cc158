"""Stepping: the steps and pauses of the messages of one run, whose records end with their messages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Protocol

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.settling.verdict import Verdict
from tasuki.contracts.driver import Ack, Receipt, Settlement
from tasuki.errors import DriverError, HandlerError, UnsupportedError
from tasuki.flow.records import RUN_TTL, run_key
from tasuki.flow.signals import Waiter, wake
from tasuki.flow.steps import MessageSteps, Pausing
from tasuki.message import is_member

if TYPE_CHECKING:
    from tasuki.consumers.definition import Definition
    from tasuki.consumers.settling.settler import Settler
    from tasuki.state.shared import SharedState


_log = logging.getLogger("tasuki.consumer")

_LONGEST_UNREMOVED = 86400.0
"""Seconds of a part of a pause where the broker cannot remove a cancelled message: shorter than its cancel is kept."""


class Followed(Protocol):
    """The settling of a run; each part may be replaced."""

    loop: asyncio.AbstractEventLoop
    settler: Settler
    settle: Callable[[Delivery, Verdict], None]


class Stepping:
    """Follows the settlements of a run from the first step on; a run whose handlers have no steps pays nothing."""

    def __init__(self, run: Followed, consumer: Definition) -> None:
        self._run = run
        self._consumer = consumer
        self._is_following = False
        self._ending: dict[Receipt, Delivery] = {}
        """Deliveries with steps whose acks or releases are under way."""

    def open(self, delivery: Delivery) -> MessageSteps:
        """The steps of a delivery.

        Raises:
            HandlerError: kind Invalid: its consumer acks first, so the message is not redelivered.
            UnsupportedError: the queue has no state.
        """
        consumer = self._consumer
        queue, state = consumer.queue, consumer.state
        if consumer.options.auto_ack:
            problem = f"consumer {consumer.id!r} has auto_ack, so its messages are not redelivered, and have no steps"
            raise HandlerError(problem, kind="Invalid", retryable=False)
        if state is None:
            raise UnsupportedError(
                f"queue {queue.id!r} has no state, which context.step needs: its driver {queue.driver.name!r} has no "
                "store; write 'state: <id of a store>' at the queue or at the driver",
                driver=queue.driver.name,
                queue=queue.id,
            )
        self._follow()
        kept = queue.policy.result
        key = run_key(queue.spec.name, delivery.received.id)
        ttl = RUN_TTL if kept is None else kept.ttl
        unable = self._unable(delivery)
        pausing = None if unable else self._pausing(delivery, state)
        return MessageSteps(state, key, delivery, self._run.loop, ttl, pausing, unable)

    def _unable(self, delivery: Delivery) -> str:
        """Why a delivery cannot pause; empty: it can."""
        consumer, queue = self._consumer, self._consumer.queue
        if consumer.options.batch is not None:
            return "which one message of a batch cannot"
        if not consumer.policy.has_dead_letter:
            return ""
        if not queue.driver.counts_releases(queue.spec.name, delivery.received.receipt):
            return ""
        return (
            f"and each delivery of a message with a key counts as an attempt in queue {queue.id!r}: its pauses would "
            "make it a dead letter; publish it without a key, or in a queue without 'ordering' and 'dedup_window'"
        )

    def _pausing(self, delivery: Delivery, state: SharedState) -> Pausing:
        queue = self._consumer.queue
        able, longest = queue.driver.capabilities, self._consumer.policy.max_delay
        if not able.has("remove"):
            longest = min(longest, _LONGEST_UNREMOVED)
        waiter, received, announce = Waiter(queue.spec.name, delivery.received.id), delivery.received, None
        if is_member(received):
            announce = partial(delivery.holder.host.keep_member, queue.id, received)
        polls = able.multi_process or state.driver.capabilities.multi_process  # another process may signal
        return Pausing(waiter, longest, polls, able.has("expedite"), announce)

    def _follow(self) -> None:
        if self._is_following:
            return
        self._is_following = True
        run, settle, on_settled = self._run, self._run.settle, self._run.settler.on_settled

        def noted(delivery: Delivery, verdict: Verdict) -> None:
            if hasattr(delivery, "own_steps"):
                verdict = _unless_paused(delivery, verdict)
                if verdict.action in ("ack", "release"):
                    self._ending[delivery.received.receipt] = delivery
            settle(delivery, verdict)

        def settled(batch: list[Settlement], stale: Collection[Receipt]) -> None:
            on_settled(batch, stale)
            for each in batch:
                delivery = self._ending.pop(each.receipt, None)
                if delivery is None or each.receipt in stale:
                    continue
                if isinstance(each, Ack):
                    run.settler.begin(delivery.own_steps.forget(), "end of steps")
                elif delivery.own_steps.awaited is not None and self._consumer.queue.driver.capabilities.has(
                    "expedite"
                ):
                    run.settler.begin(self._look_again(delivery), "look for a signal")

        run.settle, run.settler.on_settled = noted, settled

    async def _look_again(self, delivery: Delivery) -> None:
        """Wake a message whose signal came while it was about to be postponed, and so was not woken."""
        queue = self._consumer.queue
        try:
            if await delivery.own_steps.is_signalled():
                await wake(queue.driver, queue.spec.name, [delivery.received.id])
        except (DriverError, HandlerError) as error:
            _log.debug("cannot look for a signal, which is done later: %r", error, extra=delivery.log_fields())


def _unless_paused(delivery: Delivery, verdict: Verdict) -> Verdict:
    """The verdict, unless the handler has caught the Suspended that had to end it: then its message is postponed."""
    left = delivery.own_steps.paused
    if left is None or verdict.action != "ack" or verdict.reason == "cancelled":
        return verdict
    _log.warning("handler %s has caught the Suspended of a sleep or wait_for, and returned: its message is postponed "
                 "all the same", delivery.function, extra=delivery.log_fields())  # fmt: skip
    return Verdict("release", left)
