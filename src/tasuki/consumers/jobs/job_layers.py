"""The job layers of a run: result, steps, transaction, idempotency key."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from tasuki.consumers.jobs import handler_transaction, steps
from tasuki.consumers.jobs.handler_transaction import Transacting
from tasuki.consumers.jobs.idempotent import once_for
from tasuki.consumers.jobs.results import Results, results_for
from tasuki.consumers.jobs.steps import Stepping
from tasuki.consumers.jobs.timeouts import OffClock, Timed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasuki.consumers.definition import Definition
    from tasuki.consumers.handling.middleware import ConsumeMiddleware


class Followed(steps.Followed, handler_transaction.Followed, Timed, Protocol):
    """The parts of a run that the layers need."""


class Jobs(NamedTuple):
    """The layers of one run; they go around the handler and the user's middleware."""

    results: Results | None
    stepping: Stepping
    transacting: Transacting
    layers: Sequence[ConsumeMiddleware]


def jobs_of(run: Followed, consumer: Definition) -> Jobs:
    """The parts of a new run."""
    off_clock = OffClock(run, consumer.clock.monotonic)
    opener = Transacting(run, consumer, off_clock)
    results, once = results_for(consumer, off_clock), once_for(consumer, opener, off_clock)
    layers = [part.layer for part in (results, once) if part is not None]
    return Jobs(results, Stepping(run, consumer), opener, layers)
