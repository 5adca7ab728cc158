"""The entry of a worker process: small, and readable for other versions."""

from __future__ import annotations

import msgspec
import pytest

from tasuki.state.worker_record import (
    MAX_BYTES,
    MESSAGES,
    PERIOD,
    QUIET,
    TTL,
    Presence,
    PresentConsumer,
    RunningMessage,
    Unlisted,
    WorkerHealth,
    as_of_sign,
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


def names(worker: Presence) -> list[str]:
    return [each.id for each in worker.consumers]


def cut(worker: Presence, most: int = MAX_BYTES) -> Presence:
    """What readers get of it."""
    value = encode(worker, most)
    assert len(value) <= most
    found = decode(value)
    assert found is not None
    assert (found.running, found.concurrency, found.done, found.failed) == (
        worker.running, worker.concurrency, worker.done, worker.failed,
    ), "the totals are of all consumers"  # fmt: skip
    return found


@pytest.mark.parametrize(("consumers", "messages"), [(1, 500), (50, 50), (101, 1), (500, 4)])
def test_an_entry_lists_all_consumers_and_says_how_many_messages_it_leaves_out(consumers: int, messages: int) -> None:
    found = cut(presence(consumers, messages))
    assert names(found) == [f"app:c{number}" for number in range(consumers)]
    shown = sum(len(each.messages) for each in found.consumers)
    assert found.left_out == consumers * messages - shown
    assert 100 <= shown <= MESSAGES / 70, "about eighty bytes each"
    assert found.unlisted.consumers == 0


def test_a_worker_of_few_consumers_writes_no_more_than_their_messages_need() -> None:
    assert len(encode(presence(10, 500))) < MESSAGES + 2000


def test_the_messages_that_run_longest_over_all_consumers_are_named() -> None:
    late = [
        PresentConsumer("a", "q", "d", 4, 400, messages=[RunningMessage(f"m{n}", "f", 50.0 + n) for n in range(400)])
    ]
    old = PresentConsumer("z", "q", "d", 1, 1, messages=[RunningMessage("old", "f", 1.0)])
    found = cut(Presence("here", 1, "1", 0.0, 60.0, [*late, old]))
    assert [each.id for each in found.consumers[1].messages] == ["old"]
    assert [each.id for each in found.consumers[0].messages][:3] == ["m0", "m1", "m2"]
    assert found.left_out == 401 - 1 - len(found.consumers[0].messages)


@pytest.mark.parametrize(("consumers", "most"), [(5000, MAX_BYTES), (100, 4096), (3, 64)])
def test_what_an_entry_has_no_room_for_is_in_its_sums(consumers: int, most: int) -> None:
    worker = presence(consumers, 2)
    value = encode(worker, most)
    found = decode(value)
    assert found is not None
    listed = len(found.consumers)
    assert names(found) == [f"app:c{number}" for number in range(listed)]
    rest = consumers - listed
    assert found.unlisted == Unlisted(rest, 4 * rest, 2 * rest, 7 * rest, 2 * rest)
    assert (found.running, found.concurrency, found.done, found.failed) == (
        worker.running, worker.concurrency, worker.done, worker.failed,
    )  # fmt: skip
    if most > 64:
        assert len(value) <= most
        assert 0 < listed < consumers


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
    shortened = cut(presence(5000))
    assert shortened.unlisted.consumers == 5000 - len(shortened.consumers) > 0
    assert consumers_of([shortened], "q4999") is None
    assert consumers_of([shortened], "q0") == 1
    busy = cut(presence(3, 90))
    assert (busy.unlisted.consumers, consumers_of([busy], "q3")) == (0, 0), "only messages were left out"


def test_an_entry_that_stays_the_same_is_written_seldom() -> None:
    idle, busy = (Presence("here", 1, "1", 5.0, 9.0, [PresentConsumer("c", "q", "d", 4, each)]) for each in (0, 1))
    later = msgspec.structs.replace(idle, seen=10.0)
    assert next_sign_in(idle, None, 0.0) == 0, "the first one"
    assert next_sign_in(later, idle, 1.0) == QUIET - 1.0
    assert next_sign_in(later, idle, QUIET + 1.0) == 0
    assert next_sign_in(busy, idle, 1.0) == next_sign_in(busy, busy, 1.0) == 0
    assert next_sign_in(idle, busy, 1.0) == 0, "a change"


def test_a_warning_waits_for_the_next_sign_and_more_is_written_at_once() -> None:
    well, warned, stuck, later = (
        Presence("here", 1, "1", 5.0, 9.0, [PresentConsumer("c", "q", "d", 4)], health=WorkerHealth(*health))
        for health in (("ok",), ("warning", "loop", "1 s"), ("not_live", "loop", "5 s"), ("not_live", "loop", "9 s"))
    )
    assert next_sign_in(warned, well, 1.0) == next_sign_in(well, warned, 1.0) == QUIET - 1.0
    pairs = (stuck, well), (stuck, warned), (well, stuck), (later, stuck)
    assert [next_sign_in(now, before, 1.0) for now, before in pairs] == [0.0] * 4


@pytest.mark.parametrize("running", [0, 1])
def test_a_worker_is_late_after_its_next_sign_was_due_and_before_it_is_gone(running: int) -> None:
    worker = Presence("here", 1, "1", 5.0, 100.0, [PresentConsumer("c", "q", "d", 4, running)])
    due = PERIOD if running else QUIET
    assert not worker.is_late(100.0 + due + 1)
    assert worker.is_late(100.0 + TTL - 1)
    assert (worker.condition(100.0 + due + 1), worker.condition(100.0 + TTL - 1)) == ("unknown", "silent")


def test_a_worker_is_gone_after_its_time_without_a_sign() -> None:
    worker = Presence("here", 1, "1", 5.0, 100.0)
    assert [worker.is_gone(100.0 + TTL + more) for more in (-1, 1)] == [False, True]


def test_the_condition_of_a_worker_is_what_its_probes_say() -> None:
    health = WorkerHealth("not_live", "loop", "the event loop has been blocked for 9 s")
    worker = Presence("here", 1, "1", 5.0, 100.0, health=health)
    found = decode(encode(worker))
    assert found is not None
    assert (found.condition(101.0), found.trouble) == ("not_live", "loop: the event loop has been blocked for 9 s")
    well = msgspec.structs.replace(worker, health=WorkerHealth("ok"))
    assert (well.condition(101.0), well.trouble) == ("ok", "")


def test_a_message_runs_only_if_it_had_run_for_longer_than_the_sign_is_old() -> None:
    messages = [
        RunningMessage("long", "f", 90.0),
        RunningMessage("edge", "f", 96.0),
        RunningMessage("short", "f", 99.995),
    ]
    worker = Presence("here", 1, "1", 5.0, 100.0, [PresentConsumer("c", "q", "d", 4, 3, messages=messages)])
    for now, ids in ((100.0, ["long", "edge", "short"]), (104.0, ["long", "edge"]), (104.1, ["long"]), (111.0, [])):
        [consumer] = as_of_sign(worker, now).consumers
        assert [each.id for each in consumer.messages] == ids
        assert consumer.running == 3, "the count is as of the sign"


def test_two_containers_may_have_one_host_and_one_number() -> None:
    """As with the network of the host, where each process is number 1 of its container."""
    one, other = (Presence("node", 1, "1", started, 9.0, process=name) for name, started in (("a", 5.0), ("b", 5.5)))
    again = msgspec.structs.replace(one, started=65.0)  # by the clock of another store
    assert not one.is_process(other)
    assert one.is_process(again)
