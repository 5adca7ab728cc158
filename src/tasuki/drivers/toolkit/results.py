"""Bounds that every driver keeps, what drivers answer for a batch, and messages as ``peek`` shows them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

from tasuki.contracts.driver import Merged, Outgoing, QueueSpec, Unique
from tasuki.contracts.values import Answers, Results, Waiting, answer
from tasuki.errors import DriverError, KeyBusyError, MessageTooLargeError, QueueFullError, UnsupportedError
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
