"""Groups: dead letters counted by what they have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import reduce

from tasuki.queues.dead.cause import first_line
from tasuki.queues.dead.letter import Letter

MOST = 500
"""Groups that are kept apart; the letters of the rest are one more."""
OTHER = "other"
_SAMPLES = 3
_MOST_TEXTS = 100
"""Different texts of a group that are kept."""
Texts = tuple[tuple[str, int], ...]
"""First lines of errors, each with how many letters have it; the commonest first."""


def day_of(letter: Letter) -> str:
    """The day of its death in UTC, as ``2026-11-28``; empty: unknown."""
    if letter.at is None or not 0 <= letter.at < 253_402_300_800:  # the year 10000
        return ""
    return datetime.fromtimestamp(letter.at, UTC).date().isoformat()


KEYS: Mapping[str, Callable[[Letter], str]] = {
    "cause": lambda letter: letter.cause,
    "type": lambda letter: letter.type,
    "place": lambda letter: letter.place,
    "queue": lambda letter: letter.queue,
    "reason": lambda letter: letter.reason,
    "task": lambda letter: letter.task,
    "consumer": lambda letter: letter.consumer,
    "day": day_of,
}
"""What letters are grouped by; days are UTC."""


@dataclass(frozen=True, slots=True)
class DeadGroup:
    """Letters with the same key; all other facts are from the newest letter.

    ``first`` and ``last``: Unix seconds, None if no letter says when it died. ``texts``: the errors of its letters, or
    of its newest ones where a driver counts the letters. ``ids``: of up to three letters, the newest first.
    """

    key: str
    count: int
    first: float | None
    last: float | None
    queue: str
    reason: str
    type: str
    place: str
    texts: Texts
    ids: tuple[str, ...]

    @property
    def sample(self) -> str:
        """The commonest text; empty: no letter says one."""
        return self.texts[0][0] if self.texts else ""

    @property
    def other_texts(self) -> int | None:
        """How many other texts there are; None: there are some, and not all letters were asked for theirs."""
        others = self.least_other_texts
        is_part = len(self.texts) == _MOST_TEXTS or sum(count for _, count in self.texts) < self.count
        return None if others and is_part else others

    @property
    def least_other_texts(self) -> int:
        """How many other texts are known."""
        return max(len(self.texts) - 1, 0)

    @property
    def words(self) -> str:
        """What the letters have in common, in a line: the error's type and the commonest text, or why they died."""
        name = self.type.rpartition(".")[2]
        if not self.sample:
            return self.type or self.reason
        return self.sample if not name or self.sample.startswith(name) else f"{self.type}: {self.sample}"


def grouped(letters: Iterable[Letter], by: str = "cause", most: int = MOST) -> list[DeadGroup]:
    """The groups, the largest first and, among equals, the one with the newest letter.

    Raises:
        ValueError: letters are not grouped by this.
    """
    if by not in KEYS:
        raise ValueError(f"dead letters are grouped by {', '.join(KEYS)}, not by {by!r}")
    found: dict[str, list[Letter]] = {}
    for letter in letters:
        found.setdefault(KEYS[by](letter), []).append(letter)
    ranked = sorted((_group(key, members) for key, members in found.items()), key=_rank)
    if len(ranked) <= most:
        return ranked
    rest = [letter for group in ranked[most:] for letter in found[group.key]]
    return [*ranked[:most], _group(OTHER, rest)]


def merged(groups: Iterable[DeadGroup], others: Iterable[DeadGroup] = (), most: int = MOST) -> list[DeadGroup]:
    """Groups that were counted apart, one for each key; ``others``: groups that were counted as one rest."""
    found: dict[str, DeadGroup] = {}
    for group in groups:
        known = found.get(group.key)
        found[group.key] = group if known is None else _joined(known, group)
    ranked = sorted(found.values(), key=_rank)
    rest = [*ranked[most:], *others]
    return [*ranked[:most], *([replace(reduce(_joined, rest), key=OTHER)] if rest else [])]


def _joined(one: DeadGroup, other: DeadGroup) -> DeadGroup:
    newer, older = (one, other) if (one.last or 0.0) >= (other.last or 0.0) else (other, one)
    return replace(
        newer,
        texts=_ranked(_added(newer.texts, older.texts)),
        count=one.count + other.count,
        first=min((at for at in (one.first, other.first) if at is not None), default=None),
        ids=tuple(dict.fromkeys((*newer.ids, *older.ids)))[:_SAMPLES],
    )


def texts_of(errors: Iterable[str]) -> Texts:
    """The different first lines of some errors, given from the newest back; of equally common ones the newest first."""
    return _ranked(Counter(filter(None, map(first_line, errors))))


def _added(one: Texts, other: Texts) -> Counter[str]:
    found = Counter(dict(one))
    found.update(dict(other))
    return found


def _ranked(found: Mapping[str, int]) -> Texts:
    return tuple(sorted(found.items(), key=lambda pair: -pair[1])[:_MOST_TEXTS])


def _rank(group: DeadGroup) -> tuple[int, float, str]:
    return -group.count, -(group.last or 0.0), group.key


def _group(key: str, letters: list[Letter]) -> DeadGroup:
    newest = sorted(letters, key=lambda letter: letter.at or 0.0, reverse=True)
    times = [letter.at for letter in letters if letter.at is not None]
    one = newest[0]
    return DeadGroup(
        key,
        len(letters),
        min(times, default=None),
        max(times, default=None),
        one.queue,
        one.reason,
        one.type,
        one.place,
        texts_of(letter.error for letter in newest),
        tuple(letter.id for letter in newest[:_SAMPLES]),
    )
