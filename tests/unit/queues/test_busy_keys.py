from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tasuki.contracts.driver import Merged, Outgoing
from tasuki.errors import DriverError, KeyBusyError
from tasuki.queues.busy_keys import BusyKeys, Result

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

BUSY = KeyBusyError("unique key 'k' is kept")


class Broker:
    """Answers busy for the keys that are kept."""

    def __init__(self) -> None:
        self.kept = {"a", "b"}
        self.batches: list[list[str]] = []

    async def publish(self, batch: Sequence[Outgoing]) -> Sequence[Result]:
        self.batches.append([message.id for message in batch])
        return [BUSY if message.id in self.kept else None for message in batch]


async def told(keys: BusyKeys, id: str, timeout: float) -> Result:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()
    keys.add(Outgoing(id, b"", {}), loop.time() + timeout, future.set_result)
    return await future


async def test_busy_messages_are_tried_together_until_their_keys_are_free() -> None:
    broker = Broker()
    keys = BusyKeys(broker.publish)
    waiting = [asyncio.create_task(told(keys, id, 60.0)) for id in "ab"]
    await asyncio.sleep(5)
    assert set(map(tuple, broker.batches)) == {("a", "b")}
    broker.kept.remove("b")
    assert await waiting[1] is None
    assert not waiting[0].done()
    broker.kept.clear()
    assert await waiting[0] is None
    assert broker.batches[-1] == ["a"]


async def test_at_its_deadline_a_message_has_the_error_that_names_its_key() -> None:
    keys = BusyKeys(Broker().publish)
    began = asyncio.get_running_loop().time()
    assert await told(keys, "a", 3.0) is BUSY
    assert asyncio.get_running_loop().time() - began == pytest.approx(3.0)


@pytest.mark.parametrize("result", [Merged("kept", "other"), DriverError("the disk is full")])
async def test_another_answer_is_the_last_one(result: Result) -> None:
    async def publish(batch: Sequence[Outgoing]) -> Sequence[Result]:
        return [result] * len(batch)

    assert await told(BusyKeys(publish), "a", 60.0) is result
