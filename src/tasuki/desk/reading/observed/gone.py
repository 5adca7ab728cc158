"""Workers that have gone: processes that did something in the last hour, and give no sign any more; no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tasuki.observe.history.hours import Process
from tasuki.observe.history.minutes import MINUTE
from tasuki.state.presence import Presence

_PATIENCE = 2 * MINUTE
"""Seconds after its last minute for which a worker without a sign may just write late."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A worker that is not there any more; ``last``: Unix time of the end of its last minute with messages."""

    host: str
    pid: int
    last: float
    is_stopped: bool
    """Whether it closed in order; else it was killed, or is cut off from the store."""


def gone_of(processes: Iterable[Process], workers: Iterable[Presence], now: float) -> list[Gone]:
    """Those that are known to have gone, the last one first."""
    present = {(worker.host, worker.pid) for worker in workers}
    found = [
        Gone(each.host, each.pid, min((each.last + 1) * MINUTE, now), each.has_ended)
        for each in processes
        if each.consumes and (each.host, each.pid) not in present
    ]
    certain = [each for each in found if each.is_stopped or now - each.last > _PATIENCE - MINUTE]
    return sorted(certain, key=lambda each: (-each.last, each.host, each.pid))
