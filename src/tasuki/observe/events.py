"""Events: the flight recorder of a consumer. The latest events of its messages, in a ring of fixed size.

The hot path adds whole batches, which ``zip`` and ``map`` take apart: a message costs one slot, and no Python code of
its own. The slot of its settlement also has its arrival, and the start and the end of its handler; :func:`events_of`
lists all in order.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from tasuki.clock import Clock
from tasuki.observe.plain import cut, escape, to_text
from tasuki.observe.redact import redact

SLOTS = 1024
"""Slots of a ring; the oldest make room."""
NEWEST = 50
"""Events of a consumer in a dump."""

RECEIVED, STARTED, ENDED, SETTLED, RELEASED = "received", "started", "ended", "settled", "released"
SUSPENDED, PROGRESS, TIMEOUT, ERROR, STALE = "suspended", "progress", "timeout", "error", "stale"
DEAD_LETTERED = "dead-lettered"
LEASE_RENEWED, LEASE_LOST = "lease renewed", "lease lost"
PAUSED, RESUMED, LIMITED = "paused", "resumed", "limited"
STACK = "stack"
"""Where a running handler stands; no ring has it: it is made when it is asked for."""
HELD = "held"
"""A message that a handler has now; likewise."""

_RANK = {RECEIVED: 0, STARTED: 1, ENDED: 3, ERROR: 4, DEAD_LETTERED: 4, SETTLED: 5, RELEASED: 5, STALE: 6}
"""The order of events of one moment; others stand at 2."""
_LONGEST = 200
"""Most characters of a text: an error, an id that comes from outside."""
_LIFE = attrgetter("received.id", "received.attempt", "received_at", "started_at", "ended_at")


class Event(NamedTuple):
    """``at``: monotonic seconds; ``message``: its id, empty where the event is about the consumer."""

    at: float
    kind: str
    message: str = ""
    attempt: int = 0
    value: Any = None
    """Of ``ended`` the seconds that the handler ran, of ``settled`` the settlement, of ``lease renewed`` how many, of
    ``progress`` how far, of ``dead-lettered`` the queue, of the others a text or None."""


class EventSource(Protocol):
    """A delivery, for events; ``received`` has an ``id`` and an ``attempt``."""

    received_at: float
    """Monotonic time at which it came; negative: it is not known."""
    started_at: float
    """Monotonic time at which its handler started; negative: it has not."""
    ended_at: float
    """Monotonic time at which its handler ended; negative: it has not."""

    @property
    def received(self) -> Any:
        """The message."""


class EventRing:
    """The events of one consumer. Any thread may add and read; ids are kept by reference, bodies never."""

    __slots__ = ("_monotonic", "_rows")

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._rows: deque[tuple[Any, ...]] = deque(maxlen=SLOTS)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, kind: str, message: str = "", attempt: int = 0, value: Any = None) -> None:
        """Add one event."""
        self._rows.append((self._monotonic(), kind, message, attempt, value))

    def add_error(self, error: object, message: str = "", attempt: int = 0) -> None:
        """Add an error, as its first line, without secrets."""
        line = to_text(error).partition("\n")[0][: 8 * _LONGEST]  # a secret that is cut in two is not recognised
        self.add(ERROR, message, attempt, redact(line)[:_LONGEST])

    def add_once(self, kind: str) -> None:
        """Add an event of the consumer that may come repeatedly, unless it is the newest already."""
        if not self._rows or self._rows[-1][1] != kind:
            self.add(kind)

    def add_settled(
        self, batch: Sequence[Any], handled: Sequence[EventSource | None], stale: Collection[Any] = ()
    ) -> None:
        """Add settlements that the broker has answered, and the lives of their deliveries, in the same order.

        None in place of a delivery: it is not held any more, and its end stands in the ring already.
        """
        now = self._monotonic()
        if None in handled:
            known = [(settlement, one) for settlement, one in zip(batch, handled, strict=True) if one is not None]
            batch, handled = [settlement for settlement, _ in known], [one for _, one in known]
        if len(batch) == 1:
            self._rows.append((now, SETTLED, _LIFE(handled[0]), type(batch[0])))
        else:
            self._rows.extend(zip(repeat(now), repeat(SETTLED), map(_LIFE, handled), map(type, batch)))
        if stale:
            for settlement, one in zip(batch, handled, strict=True):
                if one is not None and settlement.receipt in stale:
                    self._rows.append((now, STALE, one.received.id, one.received.attempt))

    def rows(self) -> list[tuple[Any, ...]]:
        """The slots as they are, oldest first."""
        return list(self._rows)  # one step of the interpreter: no other thread adds one meanwhile


def events_of(ring: EventRing, held: Iterable[EventSource] = ()) -> list[Event]:
    """All that a ring tells, oldest first; ``held``: deliveries that are not settled yet."""
    events: list[Event] = []
    for row in ring.rows():
        if row[1] != SETTLED:
            events.append(Event(*row))
            continue
        at, _, life, kind = row
        message, attempt = life[:2]
        events += _life(*life)
        name = kind.__name__.lower()
        is_release = name == "release"
        events.append(Event(at, RELEASED if is_release else SETTLED, message, attempt, None if is_release else name))
    for one in held:
        events += _life(*_LIFE(one))
    events.sort(key=lambda event: (event.at, _RANK.get(event.kind, 2)))
    return events


def _life(message: str, attempt: int, received: float, started: float, ended: float) -> list[Event]:
    times = ((received, RECEIVED), (started, STARTED))
    life = [Event(at, kind, message, attempt) for at, kind in times if at >= 0]
    return life if ended < 0 else [*life, Event(ended, ENDED, message, attempt, ended - started)]


def as_dicts(events: Iterable[Event], clock: Clock) -> list[dict[str, Any]]:
    """Events as plain data, at Unix times."""
    now, unix = clock.monotonic(), clock.time()
    return [
        {
            "at": round(unix - (now - event.at), 6),
            "kind": event.kind,
            "message": _safe(event.message) or None,
            "attempt": event.attempt or None,
            "value": event.value if isinstance(event.value, int | float | None) else _safe(event.value),
        }
        for event in events
    ]


def as_lines(events: Iterable[Event], now: float) -> list[str]:
    """Events as lines of text, with the seconds that have passed since each."""
    return [_line(event, now) for event in events]


def _line(event: Event, now: float) -> str:
    about = f" {_safe(event.message)}, attempt {event.attempt}" if event.message else ""
    if event.value is None:
        value = ""
    elif event.kind == ENDED:
        value = f": {event.value * 1000:.1f} ms"
    else:
        value = f": {_safe(event.value)}"
    return f"{now - event.at:10.3f} s ago  {event.kind}{about}{value}"


def _safe(value: object) -> str:
    """As text that is short, on one line, and can be encoded."""
    return escape(cut(to_text(value), _LONGEST))
