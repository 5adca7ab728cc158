"""Answers of the API about dead letters: groups, letters, and batches of acts on them. Times are dates in JSON."""

from __future__ import annotations

from tasuki.desk.api.answers import ApiAnswer
from tasuki.moments import Moment


class GroupItem(ApiAnswer, frozen=True):
    """Dead letters that have something in common; queue, reason, type and place are of the newest one."""

    dead: str
    """The id of their dead-letter queue."""
    key: str
    count: int
    first: Moment | None
    last: Moment | None
    trend: list[int]
    """How many died in each twelfth of the last hour, the latest last."""
    queue: str
    reason: str
    type: str
    place: str
    sample: str
    """The commonest text of their errors."""
    other_texts: int | None
    """How many other texts there are; null: there are some, and not all letters were asked for theirs."""
    ids: list[str]


class Groups(ApiAnswer, frozen=True):
    """Dead letters in groups, the largest first."""

    count: int
    """Letters in all groups, and the ``unread`` ones if ``where`` is empty."""
    groups: list[GroupItem]
    is_all: bool
    """False: a queue has more letters than were counted, of which the newest 10,000 were read, or some are unread."""
    unclear: int
    """Letters that ``where`` could not be asked about."""
    unseen: dict[str, str]
    """Queues whose letters cannot be shown, and why."""
    unread: int | None
    """Letters in the ``unseen`` queues, which are in no group; null: unknown."""
    borrowed: dict[str, float]
    """Queues whose letters were borrowed, and how many seconds ago."""


class LetterItem(ApiAnswer, frozen=True):
    """One dead letter."""

    id: str
    name: str
    dead: str
    queue: str
    reason: str
    type: str
    place: str
    cause: str
    error: str
    at: Moment | None
    attempts: int | None
    body: str


class Letters(ApiAnswer, frozen=True):
    """Some letters of a dead-letter queue, the newest death first."""

    items: list[LetterItem]
    next: str | None
    count: int
    is_all: bool
    unclear: int


class BatchGroup(ApiAnswer, frozen=True):
    """What letters are grouped by, and the key of their group."""

    by: str
    key: str
    words: str
    """What the letters have in common; empty: only the key is known."""


class BatchItem(ApiAnswer, frozen=True):
    """An act on many dead letters, and how far it is."""

    id: str
    act: str
    queue: str
    to: str
    where: str
    group: BatchGroup | None
    ids: int
    """How many letters were chosen by their ids; 0: they were not."""
    rate: float
    canary: int | None
    limit: int | None
    actor: str
    state: str
    """running, paused, cancelled, stopped (by its canary), done, undoing, undone, failed."""
    begun: Moment
    ended: Moment | None
    total: int | None
    there: int | None
    done: int
    returned: int
    """Letters that failed again."""
    left: int | None
    seen: int
    stayed: int
    gone: int
    unclear: int
    unsure: int
    undone: int
    started: int
    can_undo: bool
    problem: str


class BatchesAnswer(ApiAnswer, frozen=True):
    """The last batches, the newest first."""

    items: list[BatchItem]
