"""Carrying: delayed messages, which no receive gets, are shown, published to queues of other drivers, and removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from tasuki.clock import Clock
from tasuki.contracts.driver import Waiting
from tasuki.dead.held import Pace
from tasuki.dead.moving.places import removed
from tasuki.dead.moving.sorting import Sorter
from tasuki.dead.moving.transferring import BATCH, Form, after_letter
from tasuki.dead.walk import Walk
from tasuki.errors import DriverError
from tasuki.message import Message
from tasuki.queues.queue import Queue


def can_carry(source: Queue) -> bool:
    """Whether its driver shows when each message is due, and removes one alone; a look-up."""
    able = source.driver.capabilities
    return able.peek and able.remove and able.transfer


async def carry_delayed(
    source: Queue,
    sorter: Sorter,
    pace: Pace,
    limit: int | None,
    before: int,
    progress: Callable[[int], None] | None,
    clock: Clock,
    form: Form,
) -> int:
    """Move the delayed messages whose targets are not reached in one step; returns how many.

    A kill between the two steps leaves up to ``BATCH`` of them in both queues. ``before``: how many messages were moved
    already. Raises DriverError: the first refusal.
    """
    walk = Walk(source.driver, source.spec.name)
    most = inf if limit is None else limit - before
    moved = 0
    while moved < most and not sorter.has_all and (page := await walk.page()):
        chunk: list[tuple[Message, Queue]] = []
        for number, message in enumerate(page, 1):
            is_delayed = isinstance(message, Waiting) and message.delay > 0
            if moved < most and is_delayed and (queue := sorter.target_of(message)) is not None:
                chunk.append((message, queue))
            else:
                walk.stays(message)
            if chunk and (number == len(page) or len(chunk) >= min(pace.most(BATCH), most - moved)):
                moved += await _carry(source, chunk, walk, clock.time(), form)
                chunk = []
                if progress is not None:
                    progress(before + moved)
                await pace.keep(before + moved, is_last=False)
    return moved


async def _carry(source: Queue, chunk: Sequence[tuple[Message, Queue]], walk: Walk, now: float, form: Form) -> int:
    """Move some; returns how many. Raises DriverError: the first refusal, after the others were moved."""
    groups: dict[Queue, list[Message]] = {}
    for message, queue in chunk:
        groups.setdefault(queue, []).append(message)
    there: list[Message] = []
    refused: DriverError | None = None
    for queue, messages in groups.items():
        after = [after_letter(message) for message in messages]
        errors = await queue.forward([form(message, now) for message in messages], after=after)
        for message, error in zip(messages, errors, strict=True):
            if error is None:
                there.append(message)
            else:
                walk.stays(message)
                refused = refused or error
    if there:
        await removed(source.driver, source.spec.name, there)
    if refused is not None:
        raise refused
    return len(there)
