"""What SQS cannot do, refused when a queue is declared; and which queues have to be FIFO queues."""

from __future__ import annotations

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.sqs.names import FIFO
from tasuki.drivers.sqs.receiving.timing import LONGEST_HIDDEN
from tasuki.errors import UnsupportedError

DEDUP_WINDOW = 300.0
"""Seconds for which SQS remembers an id: always, no more and no less."""


def check(spec: QueueSpec, driver: str) -> None:
    """Raise UnsupportedError for what SQS cannot do."""
    problem = ""
    if spec.max_length is not None:
        problem = "max_length: SQS cannot bound a queue"
    elif spec.lease > LONGEST_HIDDEN:
        problem = "lease: SQS hides a message for 12 hours at most"
    elif spec.dedup_window is not None and spec.dedup_window != DEDUP_WINDOW:
        # A longer memory than asked for would swallow messages that the application wants, a shorter one is no memory.
        problem = f"dedup_window {spec.dedup_window:g} s: SQS remembers ids for 5 minutes, no more and no less; use 5m"
    if problem:
        raise UnsupportedError(f"queue {spec.name!r}: {problem}", driver=driver, queue=spec.name)


def is_first_in_first_out(spec: QueueSpec) -> bool:
    """Whether a queue has to be a FIFO queue: for order per key, for ids that are remembered, or by its name."""
    return spec.ordering == "key" or spec.dedup_window is not None or spec.name.endswith(FIFO)
