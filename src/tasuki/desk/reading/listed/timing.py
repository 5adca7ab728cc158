"""When a waiting message is due and why, where its error was raised, and what holds back a whole queue; no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tasuki.contracts.values import Waiting
from tasuki.desk.reading.snapshot import QueueRow
from tasuki.message import ATTEMPTS, DUE, LAST_ERROR, LAST_ERROR_TIME, LAST_TRACEBACK, Message
from tasuki.queues.dead.attempts import AttemptRecord
from tasuki.queues.dead.cause import origin_in
from tasuki.queues.policy import QueuePolicy

_LINE = r'^ *File "[^"\n]*%s", line (\d{1,7}), in '


@dataclass(frozen=True, slots=True)
class Due:
    """``at``: Unix time, None: it is not known; ``reason``: delay, retry or postponed."""

    reason: str
    at: float | None = None
    is_about: bool = False
    """Whether it was worked out from the last failure: the pause has some jitter."""


def due_of(message: Message, policy: QueuePolicy, attempt: int | None = None, now: float | None = None) -> Due:
    """When a delayed message is due: as its broker says at ``now``, else as its headers say.

    ``attempt``: the number of the last one that failed, where it is known.
    """
    headers = message.headers
    if now is not None and isinstance(message, Waiting) and message.delay:
        reason = "retry" if LAST_ERROR in headers else "delay" if DUE in headers else "postponed"
        return Due(reason, now + message.delay)
    if LAST_ERROR in headers:
        failed = number(headers.get(LAST_ERROR_TIME))
        attempts = number(headers.get(ATTEMPTS)) if attempt is None else attempt
        if failed is None or attempts is None:
            return Due("retry")
        backoff = policy.retry
        try:
            pause = min(backoff.initial_delay * backoff.backoff_factor ** max(attempts - 1, 0), backoff.max_delay)
        except OverflowError:
            pause = backoff.max_delay
        return Due("retry", failed + pause, is_about=True)
    due = number(headers.get(DUE))
    return Due("postponed") if due is None else Due("delay", due)


def place_of(message: Message, record: AttemptRecord | None = None) -> str:
    """``file:line in function`` of the last error, or ``file:function``; empty: nothing tells."""
    if record is not None:
        traceback, place = record.traceback, record.place
    else:
        traceback = str(message.headers.get(LAST_TRACEBACK, ""))
        place = origin_in(str(message.headers.get(LAST_ERROR, "")), traceback).place
    file, _, function = place.rpartition(":")
    if not file:
        return place
    found = re.findall(_LINE % re.escape(file[-100:]) + re.escape(function), traceback, re.MULTILINE)
    return f"{file}:{found[-1]} in {function}" if found else place


def number(value: object) -> float | None:
    """A number of a header; None: it is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def held_back(row: QueueRow) -> list[tuple[str, dict[str, Any]]]:
    """Why ready messages of a queue do not start: keys of texts, and values; empty: they do."""
    if not row.ready:
        return []
    if row.paused is not None:
        return [("yet.paused", {"text": str(row.paused)})]
    if not row.consumers:
        return [("yet.no_consumer", {})]
    found: list[tuple[str, dict[str, Any]]] = []
    stopped = [each for each in row.consumers if each.paused is not None or (each.scale and not each.scale.concurrency)]
    if len(stopped) == len(row.consumers):
        found.append(("yet.consumers", {"n": len(stopped)}))
    elif row.workers == 0:
        found.append(("yet.no_worker", {}))
    elif row.places and row.busy >= row.places:
        found.append(("yet.busy", {"busy": row.busy, "places": row.places}))
    found += [("yet.limit", {"text": tag}) for tag in row.tags if tag.startswith("limit ")]
    return found
