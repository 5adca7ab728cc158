"""Counts and orders, read on the event loop of one app."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from tasuki.app.state.pausing import Orders, orders_of
from tasuki.app.state.workers import workers_of
from tasuki.contracts.driver import Depth
from tasuki.desk.site import problem_of
from tasuki.errors import BrokerUnavailableError, QueueNotFoundError, TasukiError
from tasuki.queues.queue import Queue
from tasuki.state.presence import Presence

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

T = TypeVar("T")

_AT_ONCE = 16
"""Queues that are counted at the same time."""
_PATIENCE = 5.0
"""Seconds for one count."""
_ALL, _BESIDE = 6.0, 3.0
"""Seconds for all counts, and for workers and pauses: the site gives up after ten, and then nothing were known."""

_SILENT = "no answer within 5 s"


@dataclass(slots=True)
class Counts:
    """What one app sees."""

    depths: dict[str, Depth] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    problems: dict[str, str] = field(default_factory=dict)
    """Queue → why it cannot be counted."""
    orders: Orders = field(default_factory=lambda: Orders({}, {}))
    workers: list[Presence] = field(default_factory=list)
    has_asked: bool = False
    """Whether all stores have told their workers."""
    now: float | None = None
    """The clock of the stores."""
    trouble: list[str] = field(default_factory=list)
    """What else could not be read."""


async def count(live: Assembly, ids: Sequence[str]) -> Counts:
    """Count these queues, and read who works on them and their pauses; errors are part of the result."""
    counts = Counts()
    left, end = iter(ids), asyncio.get_running_loop().time() + _ALL
    await asyncio.gather(*(_count_some(live, left, counts, end) for _ in range(min(_AT_ONCE, len(ids)))))
    known = [id for id in ids if id in counts.depths]
    try:
        async with asyncio.timeout(_BESIDE):
            counts.orders = await orders_of(live, set(known))
            states = [state for state in live.states_of_queues() if known or state.opened is not None]
            counts.workers = await workers_of(states)
            counts.has_asked = True
            counts.now = max([await (await state.store()).time() for state in states], default=None)
    except (TasukiError, TimeoutError) as error:
        counts.trouble.append(problem_of(error) if isinstance(error, TasukiError) else _SILENT)
    return counts


def name_causes(counts: Counts, drivers: Mapping[str, BaseException]) -> None:
    """Where a driver is not open, say why it could not be opened; ``drivers``: the error of each, by its id."""

    def cause_of(text: str) -> str:
        named = (error for id, error in drivers.items() if f"driver {id!r} is not open" in text)
        return next((problem_of(error) for error in named), text)

    counts.problems = {id: cause_of(text) for id, text in counts.problems.items()}
    counts.trouble = [cause_of(text) for text in counts.trouble]


async def _count_some(live: Assembly, left: Iterable[str], counts: Counts, end: float) -> None:
    now = asyncio.get_running_loop().time
    for id in left:
        try:
            async with asyncio.timeout_at(min(now() + _PATIENCE, end)):
                if now() >= end:  # an answer that needs no waiting would come all the same, and a thousand take long
                    raise TimeoutError
                counts.depths[id] = await depth_of(live.queues[id])
        except QueueNotFoundError:
            counts.missing.add(id)
        except (TasukiError, TimeoutError, KeyError) as error:
            counts.problems[id] = problem_of(error) if isinstance(error, TasukiError) else _SILENT


async def depth_of(queue: Queue) -> Depth:
    """The counts of a queue. Raises DriverError."""
    return await asked(queue, partial(queue.driver.depth, queue.spec.name))


async def asked(queue: Queue, ask: Callable[[], Awaitable[T]]) -> T:
    """The answer of a queue's driver, also of a queue that a worker has made since the driver was opened.

    Raises:
        QueueNotFoundError: its broker does not have it. DriverError: why else there is no answer.
    """
    try:
        return await ask()
    except QueueNotFoundError:
        if queue.driver.problem is not None:
            raise queue.driver.problem from None
        await queue.driver.inspect(queue.spec)
        return await ask()
    except BrokerUnavailableError as error:
        raise (queue.driver.problem or error) from error
