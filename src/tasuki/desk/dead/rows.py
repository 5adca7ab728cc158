"""Rows: the groups of letters in some windows, each with how many died in the last hour; no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tasuki.contracts.values import RECENT, RECENT_PARTS
from tasuki.dead.counting import groups_of, rest_of
from tasuki.desk.dead.windows import Item, Window
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.queues.dead.groups import KEYS, MOST, OTHER, DeadGroup, grouped, merged

HOUR, POINTS = RECENT, RECENT_PARTS
"""Of the trend: five minutes each."""
_NONE = (0,) * POINTS


@dataclass(frozen=True, slots=True)
class GroupRow:
    """The letters of one dead-letter queue that have a key in common."""

    dead: str
    """The id of the dead-letter queue."""
    group: DeadGroup
    trend: tuple[int, ...]
    """How many died in each twelfth of the last hour, the latest last."""

    @property
    def is_rest(self) -> bool:
        """Whether it stands for all further groups."""
        return self.group.key == OTHER


def rows_of(windows: Iterable[Window], by: str, now: float) -> list[GroupRow]:
    """The groups, the largest first. Raises ValueError: letters are not grouped by this. May run in any thread."""
    rows = []
    for window in windows:
        key_of, causes = KEYS[by], window.causes if by == "cause" else None
        items = window.items if causes is None else window.uncounted
        times: dict[str, list[float]] = {}
        for item in items:
            if item.letter.at is not None and now - item.letter.at < HOUR:
                times.setdefault(key_of(item.letter), []).append(item.letter.at)
        trends = {key: trend_of(found, now) for key, found in times.items()}
        groups = grouped((item.letter for item in items), by)
        if causes is not None:
            groups = merged([*groups_of(causes, window.queue, window.texts), *groups], rest_of(causes))
            for each in causes.counts:
                known = trends.get(each.cause, _NONE)
                trends[each.cause] = tuple(map(sum, zip(each.recent, known, strict=True)))
        rows += [GroupRow(window.queue, group, trends.get(group.key, _NONE)) for group in groups]
    return sorted(rows, key=lambda row: (-row.group.count, -(row.group.last or 0.0), row.dead, row.group.key))[:MOST]


def unread_of(snapshot: Snapshot, queues: Iterable[str]) -> int:
    """How many letters these queues have that no window shows."""
    return sum(snapshot.queues[id].waiting for id in queues if id in snapshot.queues)


def total_of(windows: Iterable[Window], unread: int, where: str) -> int:
    """How many letters there are, chosen by ``where`` if it is not empty: then unread ones are not known to match."""
    return sum(window.count for window in windows) + (0 if where else unread)


def trend_of(times: Iterable[float], now: float) -> tuple[int, ...]:
    """Counts of Unix seconds in each twelfth of the hour before ``now``."""
    counts = [0] * POINTS
    for at in times:
        if at > now - HOUR:
            counts[min(int((at - now + HOUR) / (HOUR / POINTS)), POINTS - 1)] += 1
    return tuple(counts)


def bars(trend: Sequence[int], height: int = 16, width: int = 5) -> str:
    """The path of a picture of a trend: one bar a point; every bar that is not 0 can be seen."""
    most = max(trend, default=0)
    parts = []
    for place, count in enumerate(trend):
        if count:
            tall = max(round(count / most * height), 2)
            parts.append(f"M{place * width} {height}v-{tall}h{width - 1}v{tall}z")
    return "".join(parts)


def count_of(window: Window, by: str, key: str | None) -> int:
    """How many letters a group has, as far as they were looked at or counted."""
    is_whole = key is None or (by == "cause" and key == window.cause)
    return window.count if is_whole else sum(KEYS[by](item.letter) == key for item in window.items)


def of_group(window: Window, by: str, key: str | None) -> list[Item]:
    """The letters of one group, the newest death first; None: all of the window.

    Each has its id as its name, unless another letter of the window has this id too.
    """
    ids = Counter(item.letter.id for item in window.items)
    items = [
        item if ids[item.letter.id] > 1 else replace(item, name=item.letter.id)
        for item in window.items
        if key is None or KEYS[by](item.letter) == key
    ]
    return sorted(items, key=lambda item: item.letter.at or 0.0, reverse=True)
