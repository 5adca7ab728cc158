"""Workers that have gone: they gave signs, or did something in the last hour, and give no sign any more; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasuki.observe.history import MINUTE, Process
from tasuki.state.worker_record import Presence

_PATIENCE = 2 * MINUTE
"""Seconds after its last minute for which a worker without a sign may just write late."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A worker that is not there any more; ``last``: Unix time of its last sign, or last minute with messages."""

    host: str
    pid: int
    last: float
    is_stopped: bool
    """Whether it closed in order; else it was killed, is frozen, or is cut off from the store."""
    key: str = ""
    """Of its entry, which is there until it is acknowledged, or for 15 minutes; empty: there is none."""


def lost_of(silent: Iterable[Presence], workers: Iterable[Presence], processes: Iterable[Process]) -> list[Presence]:
    """The workers with an entry and no sign: killed, frozen or cut off from the store; the last one first.

    Without the ones that give signs in another store, or whose history says that they stopped: their entry stayed as
    the store was unavailable just then.
    """
    present = list(workers)
    ends = {(each.host, each.pid): each.last for each in processes if each.has_ended}
    found = [
        worker
        for worker in silent
        if not any(map(worker.is_process, present))
        and ends.get((worker.host, worker.pid), 0) < int(worker.seen // MINUTE)
    ]
    return sorted(found, key=lambda worker: (-worker.seen, worker.host, worker.pid))


def queue_in(worker: Presence, ids: Mapping[tuple[str, str], str]) -> str:
    """The first queue of the project that it consumes; empty: none. ``ids``: by driver and name at the broker."""
    return next((id for each in worker.consumers if (id := ids.get((each.driver, each.queue)))), "")


def gone_of(
    processes: Iterable[Process], workers: Iterable[Presence], now: float, lost: Sequence[Presence] = ()
) -> list[Gone]:
    """The workers that are known to have gone, the last one first."""
    present = {(worker.host, worker.pid) for worker in [*workers, *lost]}
    found = [
        Gone(each.host, each.pid, min((each.last + 1) * MINUTE, now), each.has_ended)
        for each in processes
        if each.consumes and (each.host, each.pid) not in present
    ]
    certain = [each for each in found if each.is_stopped or now - each.last > _PATIENCE - MINUTE]
    certain += [Gone(worker.host, worker.pid, worker.seen, False, worker.key) for worker in lost]
    return sorted(certain, key=lambda each: (-each.last, each.host, each.pid))
