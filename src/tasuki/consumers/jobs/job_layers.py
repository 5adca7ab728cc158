"""The job layers of a run: result, steps, transaction, idempotency key."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tasuki.consumers.jobs.handler_transaction import HandlerTransactions
from tasuki.consumers.jobs.idempotent import once_for
from tasuki.consumers.jobs.results import Results, results_for
from tasuki.consumers.jobs.steps import FollowedRun, Stepping
from tasuki.consumers.jobs.timeouts import OffClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasuki.consumers.definition import Definition
    from tasuki.consumers.surroundings import Surrounding


class Jobs(NamedTuple):
    """The layers of one run; they surround the handler and the user's middleware."""

    results: Results | None
    stepping: Stepping
    transacting: HandlerTransactions
    layers: Sequence[Surrounding]


def jobs_of(run: FollowedRun, consumer: Definition) -> Jobs:
    """The parts of a new run."""
    off_clock = OffClock(run, consumer.clock.monotonic)
    opener = HandlerTransactions(run, consumer, off_clock)
    results, once = results_for(run, consumer, off_clock), once_for(consumer, opener, off_clock)
    return Jobs(results, Stepping(run, consumer), opener, [part for part in (results, once) if part is not None])
