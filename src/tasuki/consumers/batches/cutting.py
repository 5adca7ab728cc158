"""Cutting: when waiting messages become a batch; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Batching:
    """At most ``size`` messages in a batch; the first one waits at most ``wait`` seconds for the others."""

    size: int
    wait: float


def cut(suspects: Sequence[bool], size: int, *, is_due: bool) -> list[int]:
    """The sizes of the batches to hand over now, from the first message on; the messages after them wait on.

    A full batch is always handed over, a smaller one when it is due. A suspect is its own batch, so that a message
    that kills its worker takes no other with it. It does not wait, and neither do the messages before it, so that the
    order is kept.

    Args:
        suspects: for each waiting message, oldest first, whether it is a suspect.
        size: most messages of a batch.
        is_due: the oldest message has waited long enough, and a worker is free.
    """
    sizes: list[int] = []
    count = 0
    for is_suspect in suspects:
        if is_suspect:
            sizes += [count, 1] if count else [1]
            count = 0
        else:
            count += 1
            if count == size:
                sizes.append(count)
                count = 0
    return [*sizes, count] if count and is_due else sizes
