"""Stepping: the steps of the messages of one run, whose records end with their messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Protocol

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.settling.verdict import Verdict
from tasuki.contracts.driver import Ack, Receipt, Settlement
from tasuki.errors import HandlerError, UnsupportedError
from tasuki.flow.records import RUN_TTL, run_key
from tasuki.flow.steps import MessageSteps

if TYPE_CHECKING:
    from tasuki.consumers.definition import Definition
    from tasuki.consumers.settling.settler import Settler


class Followed(Protocol):
    """What a run has of settling; each may be replaced."""

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
        """Deliveries with steps whose acks are under way."""

    def open(self, delivery: Delivery) -> MessageSteps:
        """The steps of a delivery.

        Raises:
            HandlerError: kind Invalid: its consumer acks first, so the message does not come again.
            UnsupportedError: the queue has no state.
        """
        consumer = self._consumer
        queue, state = consumer.queue, consumer.state
        if consumer.options.auto_ack:
            problem = f"consumer {consumer.id!r} has auto_ack, so its messages do not come again, and have no steps"
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
        return MessageSteps(state, key, delivery, self._run.loop, RUN_TTL if kept is None else kept.ttl)

    def _follow(self) -> None:
        if self._is_following:
            return
        self._is_following = True
        run, settle, on_settled = self._run, self._run.settle, self._run.settler.on_settled

        def noted(delivery: Delivery, verdict: Verdict) -> None:
            if verdict.action == "ack" and hasattr(delivery, "own_steps"):
                self._ending[delivery.received.receipt] = delivery
            settle(delivery, verdict)

        def settled(batch: list[Settlement], stale: Collection[Receipt]) -> None:
            on_settled(batch, stale)
            for each in batch:
                delivery = self._ending.pop(each.receipt, None)
                if delivery is not None and isinstance(each, Ack) and each.receipt not in stale:
                    run.settler.begin(delivery.own_steps.forget(), "end of steps")

        run.settle, run.settler.on_settled = noted, settled
