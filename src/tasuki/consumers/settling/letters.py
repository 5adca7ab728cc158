"""The dead letter of a message that a consumer gives up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tasuki.consumers.settling.verdict import Verdict
from tasuki.contracts.driver import Outgoing, Received
from tasuki.observe.tracebacks import kept_traceback
from tasuki.queues.dead.attempts import AttemptRecord
from tasuki.queues.dead.origin import Origin, origin_of
from tasuki.queues.dead_letter import dead_letter

if TYPE_CHECKING:
    from tasuki.queues.queue import Queue

_TRACEBACK_CHARS = 2000
"""Most characters of a traceback in a dead letter."""


def letter_of(
    received: Received,
    verdict: Verdict,
    queue: Queue,
    consumer: str,
    now: float,
    records: Iterable[AttemptRecord] = (),
) -> Outgoing:
    """The message for the dead-letter queue, with why it was given up; ``queue``: where it comes from."""
    return dead_letter(
        received,
        queue=queue.id,
        reason=verdict.reason,
        error=verdict.error,
        attempts=received.attempt,
        now=now,
        content_type=queue.codec.name,
        traceback="" if verdict.cause is None else kept_traceback(verdict.cause, _TRACEBACK_CHARS),
        origin=_origin(verdict, consumer),
        consumer=consumer,
        records=records,
    )


def origin_for(verdict: Verdict, consumer: str) -> Origin:
    """The type of the error, and where it was raised, as far as they are known."""
    return _origin(verdict, consumer) or Origin()


def _origin(verdict: Verdict, consumer: str) -> Origin | None:
    """Where it was raised; of a worker that died only the consumer is known. None: its text says all there is."""
    if verdict.reason == "worker_died":
        return Origin(place=consumer)
    if verdict.cause is None:
        return Origin(verdict.kind)
    try:
        return origin_of(verdict.cause)
    except Exception:  # an error whose causes raise: the letter must go all the same
        return None
