"""Selection: which dead letters are meant, by their ids, by a question in the language of policies, or by a group."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from tasuki.clock import Clock
from tasuki.dead.batch import Batch
from tasuki.errors import CodecError, InvalidBodyError
from tasuki.message import BATCH, Message, is_cause
from tasuki.observe.redact import masked
from tasuki.queues.dead.groups import KEYS, day_of
from tasuki.queues.dead.letter import Letter, LetterNames, letter_in
from tasuki.queues.queue import Queue
from tasuki.security.compare import ComparisonError
from tasuki.security.expression import Expression, demand_of, parse_expression
from tasuki.security.expression_nodes import Node


class _TypeName(str):
    """The type of an error, ``shop.StockError``, which equals its bare name too: rows and errors show only that."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True or str.__eq__(self.rpartition(".")[2], other) is True


class _Subject(NamedTuple):
    letter: Letter
    source: Queue
    now: float
    masks: bool

    def shown(self, value: Any) -> Any:
        return masked(value) if self.masks else value

    def age(self) -> float | None:
        return None if self.letter.at is None else max(self.now - self.letter.at, 0.0)

    def body(self) -> Any:
        try:
            return self.shown(self.source.decode(self.letter.message))
        except (CodecError, InvalidBodyError) as error:
            raise ComparisonError(f"the body cannot be decoded: {error}") from error


NAMES: Mapping[str, Node] = {
    "id": lambda subject: subject.letter.id,
    "queue": lambda subject: subject.shown(subject.letter.queue),
    "reason": lambda subject: subject.shown(subject.letter.reason),
    "type": lambda subject: _TypeName(subject.shown(subject.letter.type)),
    "place": lambda subject: subject.shown(subject.letter.place),
    "cause": lambda subject: subject.letter.cause,
    "error": lambda subject: subject.shown(subject.letter.error),
    "task": lambda subject: subject.shown(subject.letter.task),
    "consumer": lambda subject: subject.shown(subject.letter.consumer),
    "day": lambda subject: day_of(subject.letter),
    "age": lambda subject: subject.age(),
    "attempts": lambda subject: subject.letter.attempts,
    "redriven": lambda subject: subject.letter.redriven,
    "headers": lambda subject: subject.shown(subject.letter.message.headers),
    "body": lambda subject: subject.body(),
}
"""What a question about a letter may name; ``age``: seconds since it died."""


def check_texts(*texts: str) -> None:
    """Raise ValueError if no store can keep one of them, and so no letter has it: a shell gives such."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{text[:40]!r} is no valid Unicode text, as each id and expression is") from None


class Choice:
    """Letters that an expression holds for, and that have one of the ids; without both all of them.

    Args:
        where: the expression.
        ids: of letters, or their names: see :mod:`tasuki.queues.dead.letter`.
        masks: whether secrets are compared as their mask: who asks may not know them, and cannot guess them letter by
            letter.

    Raises:
        ValueError: the expression cannot be read, and says where; or a text is no valid Unicode.
    """

    def __init__(self, where: str = "", ids: Collection[str] = (), *, masks: bool = False) -> None:
        check_texts(where, *ids)
        self._question: Expression | None = parse_expression(where, NAMES) if where else None
        self.names = LetterNames(ids)
        demand = demand_of(where, "cause") if where else None
        self.cause = demand.text if demand is not None and is_cause(demand.text) else ""
        """The one cause that all chosen letters have; empty: it is not known."""
        self.is_cause_alone = bool(self.cause) and demand is not None and demand.is_all and not ids
        """Whether nothing else is asked of them."""
        self._masks = masks
        self.unclear = 0
        """Letters that could not be judged, and are not chosen: a value of theirs is of another type."""
        self.problem = ""
        """Why the last of these could not be judged."""

    def __bool__(self) -> bool:
        return self._question is not None or bool(self.names)

    def takes(self, letter: Letter, source: Queue, now: float) -> bool:
        """Whether a letter of the dead-letter queue ``source`` is chosen."""
        if self.names and not self.names.of(letter.message):
            return False
        try:
            return self._question is None or self._question.holds(_Subject(letter, source, now, self._masks))
        except ComparisonError as error:
            self.unclear += 1
            self.problem = str(error)
            return False


def cause_of(batch: Batch) -> str:
    """The one cause of all letters of a batch; empty: it is not known."""
    if batch.ids:
        return ""
    if batch.group is not None and batch.group[0] == "cause" and is_cause(batch.group[1]):
        return batch.group[1]
    return Choice(batch.where).cause


class Chooser:
    """For one pass through the queue; ``begin`` is another one. Raises ValueError: it cannot be asked; says why."""

    def __init__(self, batch: Batch, source: Queue, clock: Clock, ids: Collection[str]) -> None:
        self._batch, self._source, self._clock = batch, source, clock
        if batch.group is not None and batch.group[0] not in KEYS:  # of another version
            raise ValueError(f"dead letters are grouped by {', '.join(KEYS)}, not by {batch.group[0]!r}")
        self._key = KEYS[batch.group[0]] if batch.group is not None else None
        self.names = LetterNames(ids)
        """Of the letters that were chosen one by one."""
        self.begin()

    def begin(self) -> None:
        """Forget all that it has seen."""
        self.choice = Choice(self._batch.where, self.names, masks=self._batch.masks)
        self._sought = set(self.names)
        self._taken: set[str] = set()
        """Names of which a letter is one of the batch: none takes two."""
        self.passed = 0
        """Letters that were not chosen."""

    @property
    def has_all(self) -> bool:
        """Whether each letter of the chosen ones has been seen."""
        return bool(self.names) and not self._sought

    def takes(self, message: Message) -> bool:
        """Whether a letter is one of the batch: chosen, and not one that the batch has moved and that came back."""
        is_mine = message.headers.get(BATCH) == self._batch.id
        name = "" if is_mine else self.names.of(message)
        self._sought.discard(name)
        if is_mine or name in self._taken or not self._holds(message):
            self.passed += 1
            return False
        if name:
            self._taken.add(name)
        return True

    def _holds(self, message: Message) -> bool:
        if self._key is None and not self.choice:
            return True
        letter, group = letter_in(message, self._source.id), self._batch.group
        if self._key is not None and group is not None and self._key(letter) != group[1]:
            return False
        return self.choice.takes(letter, self._source, self._clock.time())
