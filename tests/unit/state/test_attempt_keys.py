"""The keys of attempt records: few for each message, and never another message's."""

from __future__ import annotations

import pytest

from tasuki.contracts.state.store import MAX_KEY_BYTES
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.flow.attempts import attempt_key, read_attempts
from tasuki.queues.dead.attempts import KEPT, AttemptRecord, encode

pytestmark = pytest.mark.anyio


def record(attempt: int, round_: int = 0) -> AttemptRecord:
    return AttemptRecord(attempt=attempt, at=100.0 * round_ + attempt, round=round_)


def test_the_keys_of_a_message_take_turns() -> None:
    keys = {attempt_key("mail", "1", record(number)) for number in range(1, 1000)}
    assert len(keys) == KEPT


def test_a_long_id_makes_no_long_key() -> None:
    assert len(attempt_key("q" * 255, "\n" * 10_000, record(10**6, 10**6)).encode()) <= MAX_KEY_BYTES


async def test_a_message_has_its_own_records_alone() -> None:
    driver = MemoryDriver("app:driver")
    await driver.open()
    store = driver.store("state")
    await store.open()
    for queue, id, number in (("q", "x", 1), ("q", "x", 2), ("q/x", "0.1", 3), ("q", "xy", 4), ("qq", "x", 5)):
        await store.put(attempt_key(queue, id, record(number)), encode(record(number)))
    await store.put(attempt_key("q", "x", record(1, 1)), encode(record(1, 1)))
    await store.put("attempts/q/x/0.4", b"of another version")
    assert await read_attempts(store, "q", "x") == [record(1), record(2), record(1, 1)]
    assert await read_attempts(store, "q/x", "0.1") == [record(3)]
    assert await read_attempts(store, "q", "none") == []
    await driver.close()
