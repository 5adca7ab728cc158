"""Finding messages in all queues whose drivers can show them, within bounds that the page tells."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tasuki.clock import Clock
from tasuki.desk.reading.messages import peek
from tasuki.desk.reading.rows import asked
from tasuki.desk.reading.snapshot import QueueRow, RunningRow, Snapshot
from tasuki.desk.site import AwayError, Site, problem_of
from tasuki.errors import DriverError, QueueNotFoundError, TasukiError, UnsupportedError
from tasuki.message import ATTEMPTS, LAST_ERROR, MESSAGE_TYPE, PARTITION_KEY, PRIORITY, HeaderValue, Message
from tasuki.observe.metrics import published_at
from tasuki.observe.redact import masked
from tasuki.queues.queue import Queue
from tasuki.security.compare import ComparisonError
from tasuki.security.expression import Expression, parse_expression
from tasuki.security.expression_nodes import Node

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly


LONGEST = 1000
"""Characters of a question."""

MORE = "…"
"""Stands for the rest of an id."""

_ID = re.compile(r"[^\s=<>!&|()\"'?]{1,512}")

_SHORT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}")
"""The part of a UUIDv7 that pages show."""


class _MessageSubject(NamedTuple):
    message: Message
    queue: Queue
    now: float

    def header(self, name: str) -> Any:
        return masked(self.message.headers.get(name), name)

    def age(self) -> float | None:
        at = published_at(_Published(self.message.id, self.message.headers))
        return max(self.now - at, 0.0) if at else None

    def body(self) -> Any:
        try:
            return masked(self.queue.decode(self.message))
        except TasukiError as error:
            raise ComparisonError(f"the body cannot be decoded: {error}") from error


@dataclass
class _Published:
    """A message, as far as its age asks."""

    id: str
    headers: dict[str, HeaderValue]
    attempt: int = 1


NAMES: Mapping[str, Node] = {
    "id": lambda subject: subject.message.id,
    "queue": lambda subject: subject.queue.id,
    "type": lambda subject: subject.header(MESSAGE_TYPE),
    "key": lambda subject: subject.header(PARTITION_KEY),
    "priority": lambda subject: subject.header(PRIORITY),
    "attempts": lambda subject: subject.header(ATTEMPTS) or 0,
    "error": lambda subject: subject.header(LAST_ERROR),
    "age": lambda subject: subject.age(),
    "headers": lambda subject: masked(subject.message.headers),
    "body": lambda subject: subject.body(),
}
"""What a question may name; ``age``: seconds since the publish."""


class SearchQuestion:
    """One text that people type.

    Raises:
        ValueError: it is no id, and cannot be read as an expression; says where.
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()[:LONGEST]
        is_id = _ID.fullmatch(self.text) is not None
        self._ends: tuple[str, str] | None = _shown_ends(self.text) if is_id else None
        self.id = self.text if is_id and self._ends is None else ""
        """The id that is meant; empty: only its ends are known, or it is an expression."""
        self._expression: Expression | None = None if is_id else parse_expression(self.text, NAMES)
        self.unclear = 0
        """Messages that could not be judged: a value of theirs is of another type."""
        self.problem = ""
        """Why the last of these could not be judged."""

    def means(self, id: str) -> bool:
        """Whether the text is this id, as a whole or as a screen shows it."""
        if self._ends is None:
            return id == self.id
        start, end = self._ends
        return id.startswith(start) and id.endswith(end)

    def takes(self, message: Message, queue: Queue, now: float) -> bool:
        """Whether a message is meant. A secret value is compared as its mask: it cannot be guessed letter by letter."""
        if self._expression is None:
            return self.means(message.id)
        try:
            return self._expression.holds(_MessageSubject(message, queue, now))
        except ComparisonError as error:
            self.unclear += 1
            self.problem = str(error)
            return False


def _shown_ends(text: str) -> tuple[str, str] | None:
    """How an id starts and ends that a screen shows in part; None: the text is a whole id."""
    start, more, end = text.partition(MORE)
    return (start, end) if (more and (start or end)) or _SHORT.fullmatch(text) else None


PER_QUEUE = 10_000
"""Messages of one queue that are looked through."""

ALL = 50_000
"""Messages of all queues."""

HITS = 100
TIME = 4.0
"""Seconds of one search."""

_LEAST = 0.5
"""Seconds that a broker has to answer, however late it is."""

_STEP = 100
"""Messages that are in memory at a time: a body may have a megabyte."""

_BREATH = 0.02
"""Seconds after which other requests have their turn: a body of a few bytes may be decompressed to a megabyte."""

_MOST_WAITING = 8
"""Searches that wait for their turn."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A waiting message, and its number among those that wait in its queue."""

    queue: str
    message: Message
    place: int


@dataclass(slots=True)
class SearchResult:
    """The hits, and how far the search went."""

    hits: list[Hit] = field(default_factory=list)
    running: list[tuple[str, RunningRow]] = field(default_factory=list)
    """Queue, and a running message of the id that was asked for."""
    searched: int = 0
    """Messages that were looked through."""
    queues: int = 0
    """Queues that were looked through."""
    cut: list[str] = field(default_factory=list)
    """Queues with more messages than were looked through."""
    unseen: dict[str, str] = field(default_factory=dict)
    """Queue → why it was not looked into."""
    is_over: bool = False
    """Whether time, messages or hits ended the search."""


class Finder:
    """Searches, two at a time; more of them wait."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site, self._clock = site, clock
        self._turn = asyncio.Semaphore(2)
        self._waiting = 0

    async def find(self, question: SearchQuestion, snapshot: Snapshot, may: Callable[[str], bool]) -> SearchResult:
        """Search the queues that the viewer may look into; the shortest first, so that most are searched.

        Raises AwayError: too many searches wait for their turn.
        """
        if self._waiting >= _MOST_WAITING:
            raise AwayError("other searches are under way: try again in some seconds")
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self._find(question, snapshot, may)
        finally:
            self._turn.release()

    async def _find(self, question: SearchQuestion, snapshot: Snapshot, may: Callable[[str], bool]) -> SearchResult:
        search, end = SearchResult(), self._clock.monotonic() + TIME
        rows = sorted(snapshot.queues.values(), key=lambda row: (row.waiting, row.id))
        allowed = [row for row in rows if may(row.id)]
        search.running = [(row.id, each) for row in allowed for each in row.handlers if question.means(each.message.id)]
        for row in allowed:
            if row.depth is not None and row.waiting == 0:
                search.queues += 1
            elif search.is_over and question.id and search.hits:
                break
            elif search.is_over:
                search.cut.append(row.id)
            elif row.depth is None and not row.is_missing:
                search.unseen[row.id] = row.problem or "it could not be read"
            elif not row.is_missing:
                await self._search(row, question, search, end, snapshot.now)
                search.is_over = search.is_over or self._clock.monotonic() > end
        return search

    async def _search(
        self, row: QueueRow, question: SearchQuestion, search: SearchResult, end: float, now: float
    ) -> None:
        live, at = self._site.live.queues[row.id], 0
        able = live.driver.capabilities
        if not able.has("peek"):
            search.unseen[row.id] = live.driver.name
            return
        if question.id and able.has("find"):
            await self._look_up(row, question.id, search, end)
            return
        while True:
            try:
                peek = partial(_peek, id=row.id, start=at)
                found = await self._site.at(row.id, peek, patience=self._left(end))
            except (QueueNotFoundError, UnsupportedError):
                return
            except (DriverError, AwayError) as error:
                search.unseen[row.id] = problem_of(error)
                return
            judged = await self._judge(row.id, found, at, question, search, end, now)
            at += judged
            search.searched += judged
            search.is_over = (
                self._clock.monotonic() > end
                or search.searched >= ALL
                or len(search.hits) >= (1 if question.id else HITS)
            )
            if judged == len(found) < _STEP:
                break
            if search.is_over or at >= PER_QUEUE:
                search.cut.append(row.id)
                break
        search.queues += 1

    def _left(self, end: float) -> float:
        """Seconds in which a broker must answer: one that is silent must not make the search longer than it says."""
        return max(end - self._clock.monotonic(), _LEAST)

    async def _judge(
        self,
        queue: str,
        messages: Sequence[Message],
        start: int,
        question: SearchQuestion,
        search: SearchResult,
        end: float,
        now: float,
    ) -> int:
        """Collect the messages that are meant; returns how many were judged: fewer if the time is over before."""
        live, breath = self._site.live.queues[queue], self._clock.monotonic()
        for place, message in enumerate(messages, start):
            if (moment := self._clock.monotonic()) > breath + _BREATH:
                if moment > end:
                    return place - start
                await asyncio.sleep(0)
                breath = self._clock.monotonic()
            if question.takes(message, live, now):
                search.hits.append(Hit(queue, message, place))
        return len(messages)

    async def _look_up(self, row: QueueRow, id: str, search: SearchResult, end: float) -> None:
        """Let the broker search for an id, however deep it is."""
        try:
            look_up = partial(_by_id, queue=row.id, id=id)
            found = await self._site.at(row.id, look_up, patience=self._left(end))
        except QueueNotFoundError:
            return
        except (DriverError, AwayError) as error:
            search.unseen[row.id] = problem_of(error)
            return
        search.hits += [Hit(row.id, message, 0) for message in found[:HITS]]
        search.searched += row.waiting
        search.queues += 1
        search.is_over = bool(found) or self._clock.monotonic() > end


async def _by_id(live: Assembly, *, queue: str, id: str) -> list[Message]:
    on = live.queues[queue]
    return await asked(on, lambda: on.driver.find(on.spec.name, [id]))


async def _peek(live: Assembly, *, id: str, start: int) -> list[Message]:
    return await peek(live.queues[id], start, _STEP)


def named(ids: Iterable[str], most: int = 20) -> tuple[Sequence[str], int]:
    """The first of these, and how many more there are."""
    every = list(ids)
    return every[:most], max(len(every) - most, 0)
