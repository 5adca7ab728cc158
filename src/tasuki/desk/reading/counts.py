"""Counts and orders, read on the event loop of one app."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from tasuki.app.measuring.whole import is_whole
from tasuki.app.state.pausing import Orders, orders_of
from tasuki.app.state.workers import crew_of, depth_by, told_in
from tasuki.contracts.driver import Depth
from tasuki.desk.site import problem_of
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, QueueNotFoundError, TasukiError
from tasuki.queues.queue import Queue
from tasuki.state.shared import SharedState
from tasuki.state.worker_record import Presence

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

T = TypeVar("T")

_AT_ONCE = 16
"""Queues of one driver that are counted at the same time."""
_PATIENCE = 5.0
"""Seconds for one count."""
_ALL, _OF_STORE = 6.0, 3.0
"""Seconds for all counts, and for what a store tells: the site gives up after ten, and then nothing were known."""


@dataclass(slots=True)
class Counts:
    """What one app sees."""

    depths: dict[str, Depth] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    problems: dict[str, str] = field(default_factory=dict)
    """Queue → why it cannot be counted."""
    orders: Orders = field(default_factory=lambda: Orders({}, {}))
    workers: list[Presence] = field(default_factory=list)
    lost: list[Presence] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    """The queues whose stores have told their workers; and those without a store."""
    silent: set[str] = field(default_factory=set)
    """The drivers that cannot be reached now."""
    now: float | None = None
    """The clock of the stores."""
    trouble: list[str] = field(default_factory=list)
    """What else could not be read."""


async def count(live: Assembly, ids: Sequence[str]) -> Counts:
    """Count these queues, and read who works on them and their pauses; errors are part of the result."""
    counts = Counts()
    by_driver: dict[str, list[str]] = {}
    by_state: dict[SharedState | None, set[str]] = {}
    for id in ids:
        if (queue := live.queues.get(id)) is None:  # the project was loaded again meanwhile
            counts.missing.add(id)
            continue
        by_driver.setdefault(queue.driver.name, []).append(id)
        by_state.setdefault(live.state_of(id), set()).add(id)
    # Each driver by itself: one that does not answer keeps nothing from the others.
    await asyncio.gather(*(_count_on(live, driver, mine, counts) for driver, mine in by_driver.items()))
    await asyncio.gather(*(_ask_store(live, state, mine, counts) for state, mine in by_state.items()))
    return counts


async def _ask_store(live: Assembly, state: SharedState | None, ids: set[str], counts: Counts) -> None:
    """Read who works on the queues of one state, and their pauses."""
    if state is None:
        counts.asked |= ids
        return
    known = ids & counts.depths.keys()
    if not known and state.driver.name in counts.silent:
        return  # its queues say why
    if not known and state.opened is None:  # a store is made by opening it: there is none, and nothing in it
        counts.asked |= ids
        return
    try:
        async with asyncio.timeout(_OF_STORE):
            orders = await orders_of(live, known)
            crew = await crew_of(state)
            partial = [id for id in known if not is_whole(counts.depths[id])]
            told = await told_in(live, state, crew.alive) if partial else None
    except TimeoutError:
        counts.trouble.append(f"the store of driver {state.driver.name} has not answered for {_OF_STORE:g} s")
    except TasukiError as error:
        counts.trouble.append(problem_of(error))
    else:
        counts.orders.pauses.update(orders.pauses)
        counts.orders.scales.update(orders.scales)
        counts.workers += crew.alive
        counts.lost += crew.lost
        for id in partial:
            counts.depths[id] = depth_by(live, live.queues[id], counts.depths[id], told)
        counts.asked |= ids
        counts.now = crew.now if counts.now is None else max(counts.now, crew.now)


def name_causes(counts: Counts, drivers: Mapping[str, BaseException]) -> None:
    """Where a driver is not open, say why it could not be opened; ``drivers``: the error of each, by its id."""

    def cause_of(text: str) -> str:
        named = (error for id, error in drivers.items() if f"driver {id!r} is not open" in text)
        return next((problem_of(error) for error in named), text)

    counts.problems = {id: cause_of(text) for id, text in counts.problems.items()}
    counts.trouble = [cause_of(text) for text in counts.trouble]


async def _count_on(live: Assembly, driver: str, ids: Sequence[str], counts: Counts) -> None:
    left, end = iter(ids), asyncio.get_running_loop().time() + _ALL
    await asyncio.gather(*(_count_some(live, driver, left, counts, end) for _ in range(min(_AT_ONCE, len(ids)))))


async def _count_some(live: Assembly, driver: str, left: Iterable[str], counts: Counts, end: float) -> None:
    problem, now = "", asyncio.get_running_loop().time
    for id in left:
        if driver in counts.silent:  # to ask for each of its queues would take longer than anyone waits
            counts.problems[id] = problem or f"driver {driver} does not answer"
            continue
        try:
            async with asyncio.timeout_at(min(now() + _PATIENCE, end)):
                if now() >= end:  # an answer that needs no waiting would come all the same, and a thousand take long
                    raise TimeoutError
                counts.depths[id] = await depth_of(live.queues[id])
        except QueueNotFoundError:
            counts.missing.add(id)
        except (TasukiError, TimeoutError) as error:
            problem = problem_of(error) if isinstance(error, TasukiError) else f"no answer within {_PATIENCE:g} s"
            counts.problems[id] = problem
            is_late = isinstance(error, TimeoutError) and now() < end  # else there were too many to be counted
            if is_late or isinstance(error, BrokerUnavailableError | BrokerTimeoutError):
                counts.silent.add(driver)


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
