"""Every verb of a driver, to see what all of them answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from tasuki.contracts.driver import Ack, Move, Transfer
from tasuki.errors import DriverError
from tasuki.testing.conformance.rig import Rig, has

Verb = Callable[[], Awaitable[object]]


def verbs(rig: Rig, queue: str) -> Iterator[Verb]:
    """All that needs a declared queue."""
    driver = rig.driver
    yield from fresh_verbs(rig, queue)
    yield lambda: driver.settle(queue, [Ack(1)])
    yield lambda: driver.extend(queue, [1], rig.long)
    yield lambda: driver.move(queue, [Move(1, queue, (rig.message(),))])


def fresh_verbs(rig: Rig, queue: str) -> Iterator[Verb]:
    """The same without those that end or keep open deliveries."""
    driver = rig.driver
    yield lambda: driver.publish(queue, [rig.message()])
    yield lambda: driver.receive(queue, 1, 0.0)
    yield lambda: driver.depth(queue)
    yield lambda: driver.occupancy(queue)
    if has(driver, "peek"):
        yield lambda: driver.peek(queue, 1)
    if has(driver, "find"):
        yield lambda: driver.find(queue, ["1"])
    if has(driver, "locate"):
        yield lambda: driver.locate(queue, ["1"])
    if has(driver, "causes"):
        yield lambda: driver.causes(queue, 10)
        yield lambda: driver.peek_cause(queue, "0123456789ab", 1)
    if has(driver, "purge"):
        yield lambda: driver.purge(queue)
    if has(driver, "remove"):
        yield lambda: driver.remove(queue, ["1"])
    if has(driver, "expedite"):
        yield lambda: driver.expedite(queue, ["1"])
    if has(driver, "transfer"):
        yield lambda: driver.transfer(queue, [Transfer("1", queue, rig.message())])


async def raises(kind: type[DriverError], rig: Rig, verb: Verb) -> DriverError:
    """The error of the verb, within the suite's patience."""
    try:
        async with asyncio.timeout(rig.suite.patience):
            await verb()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} expected, and nothing was raised")
