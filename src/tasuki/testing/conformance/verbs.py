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
    claimed: list[tuple[str, Verb]] = [
        ("peek", lambda: driver.peek(queue, 1)),
        ("find", lambda: driver.find(queue, ["1"])),
        ("locate", lambda: driver.locate(queue, ["1"])),
        ("causes", lambda: driver.causes(queue, 10)),
        ("causes", lambda: driver.peek_cause(queue, "0123456789ab", 1)),
        ("purge", lambda: driver.purge(queue)),
        ("remove", lambda: driver.remove(queue, ["1"])),
        ("expedite", lambda: driver.expedite(queue, ["1"])),
        ("transfer", lambda: driver.transfer(queue, [Transfer("1", queue, rig.message())])),
    ]
    yield from (verb for capability, verb in claimed if has(driver, capability))


async def raises(kind: type[DriverError], rig: Rig, verb: Verb) -> DriverError:
    """The error of the verb, within the suite's patience."""
    try:
        async with asyncio.timeout(rig.suite.patience):
            await verb()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} expected, and nothing was raised")
