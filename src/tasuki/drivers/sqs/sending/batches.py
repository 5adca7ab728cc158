"""Batches of ten, as SQS takes them, several at once; each entry gets its own result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tasuki.drivers.sqs.translate import answered, short
from tasuki.errors import DriverError

MOST_ENTRIES = 10
AT_ONCE = 10
"""Requests of one call that are under way at the same time."""

T = TypeVar("T")
Result = DriverError | None


def in_tens(items: Sequence[T], size: Callable[[T], int] | None = None, most: int = 0) -> Iterator[list[T]]:
    """In order, at most ten and at most ``most`` bytes together (one alone may be larger)."""
    part: list[T] = []
    total = 0
    for item in items:
        bytes_ = size(item) if size else 0
        if part and (len(part) == MOST_ENTRIES or (size and total + bytes_ > most)):
            yield part
            part, total = [], 0
        part.append(item)
        total += bytes_
    if part:
        yield part


def in_turns(items: Sequence[T], group: Callable[[T], str], size: Callable[[T], int], most: int) -> list[list[T]]:
    """Parts as of ``in_tens``, to be sent one after the other, with at most one item of a group in each, in order.

    SQS takes the entries of a request one by one: where one fails, a later one of its group may be stored. So the next
    one of a group goes when the one before it is stored, and what failed can be sent again without a change of order.
    """
    parts: list[list[T]] = []
    sizes: list[int] = []
    earliest: dict[str, int] = {}
    first_open = 0
    for item in items:
        name, bytes_ = group(item), size(item)
        place = max(earliest.get(name, 0), first_open)
        while place < len(parts) and (len(parts[place]) == MOST_ENTRIES or sizes[place] + bytes_ > most):
            place += 1
        if place == len(parts):
            parts.append([])
            sizes.append(0)
        parts[place].append(item)
        sizes[place] += bytes_
        earliest[name] = place + 1
        while first_open < len(parts) and len(parts[first_open]) == MOST_ENTRIES:
            first_open += 1
    return parts


async def at_once(parts: Sequence[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Work on all parts, a few at the same time; the work must not raise."""
    if len(parts) == 1:
        await work(parts[0])
        return
    room = asyncio.Semaphore(AT_ONCE)

    async def one(part: T) -> None:
        async with room:
            await work(part)

    await asyncio.gather(*map(one, parts))


def results_of(answer: Mapping[str, Any], count: int, driver: str, queue: str) -> tuple[list[Result], list[str]]:
    """Results and codes of the entries of a batch, whose ids are their numbers; a code is empty where it succeeded."""
    missing = DriverError(f"SQS said nothing of one entry to driver {driver!r}", driver=driver, queue=queue)
    missing.outcome = "unknown"
    results: list[Result] = [missing] * count
    codes = ["Missing"] * count
    for entry in answer.get("Successful") or ():
        results[int(entry["Id"])], codes[int(entry["Id"])] = None, ""
    for entry in answer.get("Failed") or ():
        number, code = int(entry["Id"]), short(str(entry.get("Code", "Unknown")))
        results[number] = failure(entry, code, driver, queue)
        codes[number] = code
    return results, codes


def failure(entry: Mapping[str, Any], code: str, driver: str, queue: str) -> DriverError:
    """The error of a failed entry: SQS did not do it, so its outcome is certain."""
    is_server_fault = not entry.get("SenderFault", False)
    error = answered(code, str(entry.get("Message", "")), driver, queue, is_server_fault=is_server_fault)
    error.outcome = "rejected"
    return error
