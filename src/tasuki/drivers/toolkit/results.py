"""The bounds that every driver keeps, and its answers: to a publish, to a batch of moves or transfers, to ``peek``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from tasuki.contracts.driver import Merged, Move, Outgoing, QueueSpec, Receipt, Transfer, Unique
from tasuki.contracts.groups import by_target, stale
from tasuki.contracts.values import Answers, Results, Waiting, answer
from tasuki.errors import (
    DriverError,
    KeyBusyError,
    MessageNotFoundError,
    MessageTooLargeError,
    QueueFullError,
    UnsupportedError,
)
from tasuki.message import LAST_ERROR, LAST_ERROR_TIME, HeaderValue

MAX_PRIORITY = 9


def check_bounds(batch: Iterable[Outgoing], *, driver: str, queue: str, unique: Collection[str] = ()) -> bool:
    """Refuse what no broker can keep (clause 32), and what this one cannot (39); returns whether a message is unique.

    ``unique``: the spans and acts that the driver knows.

    Raises:
        UnsupportedError: a delay is negative, infinite or no number, a priority is not in 0 to 9, or a message is
            unique in a way that the driver does not know; nothing is stored.
    """
    is_any_unique = False
    for message in batch:
        if message.unique is not None:
            is_any_unique = True
            _check_unique(message.id, message.unique, unique, driver=driver, queue=queue)
        if (message.delay or message.priority) and (problem := _problem_of(message)):
            raise UnsupportedError(f"message {message.id!r}: {problem}", driver=driver, queue=queue)
    return is_any_unique


def _check_unique(id: str, unique: Unique, known: Collection[str], *, driver: str, queue: str) -> None:
    if not isinstance(unique.span, str) and not 0 < unique.span < inf:
        problem = f"its window is {unique.span} seconds; give more than 0, and a finite number"
    elif not 0 <= unique.latest < inf:
        problem = f"latest is {unique.latest} seconds; give 0 or more, and a finite number"
    elif missing := [need for need in unique.needs if need not in known]:
        problem = f"the driver does not keep messages unique by {' and '.join(missing)}"
    else:
        return
    raise UnsupportedError(f"message {id!r}: {problem}", driver=driver, queue=queue)


def _problem_of(message: Outgoing) -> str:
    if not 0 <= message.delay < inf:
        return f"the delay is {message.delay} seconds; give 0 or more, and a finite number"
    if not 0 <= message.priority <= MAX_PRIORITY:
        return f"the priority is {message.priority}; give 0 to {MAX_PRIORITY}"
    return ""


__all__ = ["Answers", "Results", "answer", "answered_in_order", "full", "published_again", "shown", "stored_in_order"]


async def published_again(
    batch: Sequence[Outgoing],
    results: Answers,
    is_lost: Callable[[Any], bool],
    publish: Callable[[Sequence[Outgoing]], Awaitable[Answers]],
) -> Answers:
    """The results of a batch after ``publish`` was given the messages whose results are ``is_lost``, if there are.

    If that fails, its error is the result of those messages alone: the others have theirs already.
    """
    lost = [index for index, result in enumerate(results) if is_lost(result)]
    if not lost:
        return results
    try:
        again = await publish([batch[index] for index in lost])
    except DriverError as error:
        again = [error] * len(lost)
    changed = dict(zip(lost, again or [None] * len(lost), strict=True))
    return [changed.get(index, result) for index, result in enumerate(results)]


def stored_in_order(count: int, stored: int, refused: Mapping[int, DriverError], failed: DriverError) -> Results:
    """The answer for a batch: ``refused`` by index; the first ``stored`` others are confirmed, the rest failed."""
    sound = [index for index in range(count) if index not in refused]
    confirmed = {*sound[:stored]}
    return answer([None if index in confirmed else refused.get(index, failed) for index in range(count)])


def answered_in_order(
    count: int, told: Sequence[Merged | DriverError | None], refused: Mapping[int, DriverError], failed: DriverError
) -> Answers:
    """The answer for a batch with unique messages: ``refused`` by index, ``told`` of the first others, then failed."""
    left: Iterator[Merged | DriverError | None] = iter(told)
    return answer([refused[index] if index in refused else next(left, failed) for index in range(count)])


def full(queue: str, max_length: int | None, *, driver: str) -> QueueFullError:
    """The error of a queue without room for another message. None: its bound is not known here."""
    bound = (
        "as many messages as its max_length allows"
        if max_length is None
        else f"its max_length of {max_length} messages"
    )
    return QueueFullError(f"queue {queue!r} holds {bound}", driver=driver, queue=queue)


def busy(queue: str, key: str, *, driver: str) -> KeyBusyError:
    """The error for a message whose unique key an open transaction keeps."""
    problem = (
        f"unique key {key[:100]!r} of queue {queue!r} is kept by a transaction that is open; end it, or publish again"
    )
    return KeyBusyError(problem, driver=driver, queue=queue)


def refusal(
    message: Outgoing, *, driver: str, queue: str, most: float, encode: Callable[[Outgoing], object]
) -> DriverError | None:
    """Why a message cannot be stored, or None.

    ``most``: bytes of the largest body; ``encode`` raises TypeError, ValueError or OverflowError for a message that
    cannot be kept.
    """
    kind: type[DriverError] = UnsupportedError
    if len(message.body) > most:
        kind, why = MessageTooLargeError, f"it is larger than {most} bytes"
    else:
        try:
            encode(message)
        except (TypeError, ValueError, OverflowError) as problem:
            why = f"it cannot be kept: {problem}"
        else:
            return None
    return kind(f"message {message.id!r} was not stored: {why}", driver=driver, queue=queue)


def sorted_out(
    batch: Sequence[Outgoing], refuse: Callable[[Outgoing], DriverError | None]
) -> tuple[list[Outgoing], dict[int, DriverError]]:
    """The messages of a batch that can be stored, and by index why the others cannot."""
    errors = [refuse(message) for message in batch]
    sound = [message for message, error in zip(batch, errors, strict=True) if error is None]
    return sound, {index: error for index, error in enumerate(errors) if error is not None}


def in_force(
    spec: QueueSpec,
    lease: float,
    max_length: int | None,
    by_key: bool,
    dedup_window: float | None,
    temporary: bool,
) -> QueueSpec:
    """An inspected queue with the options that the broker has for it."""
    return replace(
        spec,
        lease=lease,
        max_length=max_length,
        ordering="key" if by_key else "none",
        dedup_window=dedup_window,
        temporary=bool(temporary),
    )


def shown(
    id: str,
    body: bytes,
    headers: dict[str, HeaderValue],
    place: str = "",
    error: str | None = None,
    at: float = 0.0,
    *,
    delay: float = 0.0,
    failures: int = 0,
) -> Waiting:
    """A message that ``peek`` shows, with its last error and its time (Unix seconds) among the headers (38, 57, 60).

    ``delay``: seconds until it is ready; one that is past counts as 0.
    """
    if error:
        headers = {**headers, LAST_ERROR: error, LAST_ERROR_TIME: at}
    return Waiting(id, body, headers, place, max(delay, 0.0), failures)


STALE, FULL = 1, 2

MISSING = STALE
"""What became of a move or a transfer, as brokers answer; 0: done."""


Outcome = int | DriverError | None

MAX_BYTES = 16 * 2**20
"""Most bytes of bodies in one request, unless a single move has more."""


async def move_together(
    driver: str,
    queue: str,
    batch: Sequence[Move],
    *,
    refuse: Callable[[Move], DriverError | None],
    run: Callable[[str, Sequence[Move]], Awaitable[Sequence[Outcome]]],
    most: int = 1000,
) -> Results:
    """Move a batch; the results as ``Driver.move`` gives them.

    Args:
        driver: its name, for errors.
        queue: where the deliveries are from.
        batch: the moves.
        refuse: why a move cannot be tried, if it cannot.
        run: move some to one queue, no receipt twice; gives one outcome each.
        most: most moves of one ``run``.
    """
    results: list[DriverError | None] = [None] * len(batch)
    sound: list[int] = []
    first = {move.receipt: index for index, move in reversed([*enumerate(batch)])}
    for index, move in enumerate(batch):
        is_repeated = first[move.receipt] != index
        results[index] = (
            stale(move.receipt, driver=driver, queue=queue) if is_repeated else _refusal(driver, move, refuse)
        )
        if results[index] is None:
            sound.append(index)
    for to, indexes in by_target(batch, sound).items():
        sizes = [sum(len(message.body) for message in batch[index].messages) for index in indexes]
        for piece in pieces(sizes, MAX_BYTES, most):
            part = indexes[piece]
            try:
                outcomes = await run(to, [batch[index] for index in part])
            except DriverError as error:
                outcomes = [error] * len(part)
            for index, outcome in zip(part, outcomes, strict=True):
                results[index] = _error(outcome, batch[index], driver=driver, queue=queue)
    return answer(results)


def _refusal(driver: str, move: Move, refuse: Callable[[Move], DriverError | None]) -> DriverError | None:
    try:
        check_bounds(move.messages, driver=driver, queue=move.to)
    except DriverError as error:
        return error
    return refuse(move)


def _error(outcome: Outcome, move: Move, *, driver: str, queue: str) -> DriverError | None:
    if outcome == STALE:
        return stale(move.receipt, driver=driver, queue=queue)
    if outcome == FULL:
        return full(move.to, None, driver=driver)
    return outcome if isinstance(outcome, DriverError) else None


def is_receipt(receipt: Receipt) -> bool:
    """Whether it has the form of ours, the number of a message and a token; others are stale."""
    return type(receipt) is tuple and len(receipt) == 2


def pieces(sizes: Sequence[int], most_bytes: int, most: float = inf) -> list[slice]:
    """Cut a batch into parts of at most this many bytes of bodies and this many messages, or of one message."""
    starts, total = [0], 0
    for place, size in enumerate(sizes):
        total += size
        if place > starts[-1] and (total > most_bytes or place - starts[-1] == most):
            starts.append(place)
            total = size
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(sizes)], strict=True)]


P = TypeVar("P")
"""Where a message is in its queue, as the driver names it."""


class Found(NamedTuple, Generic[P]):
    """One transfer for the broker: the message of this place and id leaves, and ``message`` is stored for it."""

    place: P
    id: str
    message: Outgoing


_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


Find = Callable[[Mapping[str, float]], Awaitable[Mapping[str, Sequence[P]]]]
"""The places of waiting messages of these ids, the oldest first: of each at least this many, if there are."""


Carry = Callable[[str, Sequence[Found[P]]], Awaitable[Sequence[Outcome]]]
"""Transfers to one queue, of which no place is named twice; gives one outcome each."""


class Transfers(Generic[P]):
    """A batch on its way. It finds the places that are not named, then it makes the transfers of each target.

    Args:
        driver: its name, for errors.
        queue: where the messages are.
        batch: the transfers.
        refuse: why one cannot be tried, if it cannot.
    """

    def __init__(
        self,
        driver: str,
        queue: str,
        batch: Sequence[Transfer],
        refuse: Callable[[str, Outgoing], DriverError | None] = lambda _, __: None,
    ) -> None:
        self._driver, self._queue, self._batch = driver, queue, batch
        self._results: list[DriverError | None] = [None] * len(batch)
        self._messages: dict[int, Outgoing] = {}
        for index, transfer in enumerate(batch):
            message = _stored_always(transfer.message)
            try:
                check_bounds((message,), driver=driver, queue=transfer.to)
                refusal = refuse(transfer.to, message)
            except DriverError as error:
                refusal = error
            if refusal is None and not storable((transfer.id,)):
                refusal = _missing(transfer.id, driver=driver, queue=queue)
            if refusal is None:
                self._messages[index] = message
            else:
                self._results[index] = refusal

    async def run(self, place_in: Callable[[str], P | None], find: Find[P], carry: Carry[P]) -> Results:
        """Make them; the results as ``Driver.transfer`` gives them.

        ``place_in``: the place that a text names; None: there is no such place.
        """
        tried = [(index, self._batch[index]) for index in self._messages]
        named = {each.place: place_in(each.place) for _, each in tried if each.place}
        places = await self._places(find, {*named.values()})
        found: dict[int, Found[P]] = {}
        for index, each in tried:
            place = named.pop(each.place, None) if each.place else next(places[each.id], None)
            if place is None:  # also the second transfer that names it
                self._tell(index, MISSING)
            else:
                found[index] = Found(place, each.id, self._messages[index])
        await self._carry(found, carry)
        return answer(self._results)

    async def _places(self, find: Find[P], named: Collection[P | None]) -> dict[str, Iterator[P]]:
        """The places for transfers that name an id alone, without the ``named`` ones."""
        ids = [self._batch[index].id for index in self._messages]
        alone = {each.id for each in self._batch if not each.place}.intersection(ids)
        found = await find(Counter(id for id in ids if id in alone)) if alone else {}
        return {id: iter([place for place in found.get(id, ()) if place not in named]) for id in alone}

    async def _carry(self, found: Mapping[int, Found[P]], carry: Carry[P]) -> None:
        for to, indexes in by_target(self._batch, found).items():
            for piece in pieces([len(self._messages[index].body) for index in indexes], MAX_BYTES):
                part = indexes[piece]
                try:
                    told = await carry(to, [found[index] for index in part])
                except DriverError as error:
                    told = [error] * len(part)
                for index, outcome in zip(part, told, strict=True):
                    self._tell(index, outcome)

    def _tell(self, index: int, outcome: Outcome) -> None:
        transfer = self._batch[index]
        error = outcome if isinstance(outcome, DriverError) else None
        if outcome == MISSING:
            error = _missing(transfer.id, driver=self._driver, queue=self._queue)
        elif outcome == FULL:
            error = full(transfer.to, None, driver=self._driver)
        self._results[index] = error


def number_in(place: str) -> int | None:
    """The number that a place is at a driver that counts its messages; None: it is none."""
    return int(place) if _NUMBER.fullmatch(place) else None


def storable(ids: Iterable[str]) -> list[str]:
    """The ids that a message can have at any broker: those that UTF-8 can encode."""
    return [id for id in ids if not any("\ud800" <= character <= "\udfff" for character in id)]


def _stored_always(message: Outgoing) -> Outgoing:
    """The message, stored whatever the queue remembers of its id (50)."""
    if not message.deduplicate:
        return message
    return msgspec.structs.replace(message, deduplicate=False)


def _missing(id: str, *, driver: str, queue: str) -> MessageNotFoundError:
    problem = f"no message {id!r} waits in queue {queue!r}: it is gone, or a consumer holds it"
    return MessageNotFoundError(problem, driver=driver, queue=queue)
