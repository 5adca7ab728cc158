"""The entry of a worker process: small, and readable for other versions."""

from __future__ import annotations

import msgspec
import pytest

from tasuki.state.presence import (
    MAX_BYTES,
    PERIOD,
    QUIET,
    TTL,
    Presence,
    PresentConsumer,
    RunningMessage,
    consumers_of,
    decode,
    encode,
    next_sign_in,
)


def presence(consumers: int = 1, messages: int = 0, host: str = "web-1") -> Presence:
    running = [RunningMessage(f"m{number:032}", "app:send", 1.0 + number) for number in range(messages)]
    found = [
        PresentConsumer(f"app:c{number}", f"q{number}", "app:db", 4, messages, 7, 2, running)
        for number in range(consumers)
    ]
    return Presence(host, 12, "0.1.0", 100.0, 160.0, found)


def test_what_is_encoded_is_decoded() -> None:
    worker = presence(2, 3)
    assert decode(encode(worker)) == msgspec.structs.replace(worker, consumers=list(worker.consumers))
    assert (worker.running, worker.done, worker.failed, worker.left_out) == (6, 14, 4, 0)
    assert worker.key == "presence/web-1:12:100.000"


@pytest.mark.parametrize(("consumers", "messages"), [(1, 500), (50, 50), (1000, 0), (3, 90)])
def test_an_entry_is_small_and_says_what_it_leaves_out(consumers: int, messages: int) -> None:
    value = encode(presence(consumers, messages))
    assert len(value) <= MAX_BYTES
    found = decode(value)
    assert found is not None
    shown = sum(len(each.messages) for each in found.consumers)
    assert found.left_out == (consumers - len(found.consumers)) + (consumers * messages - shown)
    assert found.left_out > 0
    assert [each.id for each in found.consumers] == [f"app:c{number}" for number in range(len(found.consumers))]
    if len(found.consumers) == consumers:
        assert found.running == consumers * messages, "the counts are of all messages"


def test_another_version_is_read_as_far_as_it_can_be() -> None:
    fields = msgspec.to_builtins(presence())
    assert decode(msgspec.json.encode({**fields, "new": 1})) is not None
    assert decode(msgspec.json.encode({**fields, "pid": "twelve"})) is None
    assert decode(b"\xff") is None
    assert decode(b'{"host": "\xff"}') is None
    assert decode(b'{"x":' + b"[" * 100_000) is None


def test_a_long_name_of_a_host_is_cut_in_the_key() -> None:
    assert len(presence(host="h" * 1000).key) < 300


def test_consumers_of_a_queue() -> None:
    assert consumers_of([presence(2), presence(1)], "q0") == 2
    assert consumers_of([presence(2), presence(1)], "q1") == 1
    assert consumers_of([], "q1") == 0


def test_drivers_that_share_a_store_may_have_queues_of_one_name() -> None:
    assert consumers_of([presence(1)], "q0", "app:db") == 1
    assert consumers_of([presence(1)], "q0", "app:other") == 0


def test_consumers_of_a_queue_are_unknown_where_an_entry_had_no_room_for_all() -> None:
    shortened = decode(encode(presence(1000)))
    assert shortened is not None
    assert shortened.hidden == 1000 - len(shortened.consumers) > 0
    assert consumers_of([shortened], "q999") is None
    assert consumers_of([shortened], "q0") == 1
    busy = decode(encode(presence(3, 90)))
    assert busy is not None
    assert (busy.hidden, consumers_of([busy], "q3")) == (0, 0), "only messages were left out"


def test_an_entry_that_stays_the_same_is_written_seldom() -> None:
    idle, busy = (Presence("here", 1, "1", 5.0, 9.0, [PresentConsumer("c", "q", "d", 4, each)]) for each in (0, 1))
    later = msgspec.structs.replace(idle, seen=10.0)
    assert next_sign_in(idle, None, 0.0) == 0, "the first one"
    assert next_sign_in(later, idle, 1.0) == QUIET - 1.0
    assert next_sign_in(later, idle, QUIET + 1.0) == 0
    assert next_sign_in(busy, idle, 1.0) == next_sign_in(busy, busy, 1.0) == 0
    assert next_sign_in(idle, busy, 1.0) == 0, "a change"


@pytest.mark.parametrize("running", [0, 1])
def test_a_worker_is_late_after_its_next_sign_was_due_and_before_it_is_gone(running: int) -> None:
    worker = Presence("here", 1, "1", 5.0, 100.0, [PresentConsumer("c", "q", "d", 4, running)])
    due = PERIOD if running else QUIET
    assert not worker.is_late(100.0 + due + 1)
    assert worker.is_late(100.0 + TTL - 1)
