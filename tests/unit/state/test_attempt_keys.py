"""The keys of attempt records: few for each message, and never another message's."""

from __future__ import annotations

import pytest

from tasuki.consumers.handling import idempotency
from tasuki.contracts.state.store import MAX_KEY_BYTES
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import HandlerError
from tasuki.flow import records
from tasuki.flow.attempts import attempt_key, read_attempts
from tasuki.queues.dead.attempts import KEPT, AttemptRecord, encode
from tasuki.state.records import limit_key, part_of

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


@pytest.mark.parametrize("value", [b"", b"\xc1", b"\x81\xa5owner\x01", b"\x81\xa5owner\xa1\xff", b"\x91" * 5000])
@pytest.mark.parametrize(
    ("decode", "of"), [(records.decode, "the message's steps"), (idempotency.decode, "the idempotency key")]
)
def test_a_record_of_another_version_is_an_error_that_is_tried_again(decode: object, of: str, value: bytes) -> None:
    assert callable(decode)
    with pytest.raises(HandlerError) as told:
        decode(value)
    assert f"the record of {of} cannot be read, another version has written it" in told.value.message
    assert (told.value.kind, told.value.retryable) == ("Internal", True)


def test_an_id_is_in_its_key_as_it_is_unless_no_store_would_take_it() -> None:
    assert part_of("order-7") == "order-7"
    for id in ("a\nb", "x" * 201, "\ud800"):
        assert part_of(id).startswith("sha256 ")


def test_a_limit_is_of_a_queue_of_a_driver() -> None:
    assert limit_key("app:rabbit", "mails") == "limit/app:rabbit/mails"
    assert limit_key("app:nats", "mails") != limit_key("app:rabbit", "mails")
    assert len(limit_key("x" * 500, "q" * 255).encode()) < 512
