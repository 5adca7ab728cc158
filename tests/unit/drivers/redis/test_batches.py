from __future__ import annotations

from math import inf, nan
from typing import Any, Literal

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Release, Settlement
from tasuki.drivers.redis import batches
from tasuki.drivers.redis.batches import (
    Publishing,
    Settling,
    decoded,
    encoded,
    key_text,
    microseconds,
    publishing,
    readable,
    received,
    settled_together,
)
from tasuki.drivers.toolkit.results import answer
from tasuki.errors import DriverError, MessageTooLargeError, QueueFullError, UnsupportedError

Ordering = Literal["none", "key"]

SPEC = QueueSpec("q")


def publish(*batch: Outgoing, spec: QueueSpec = SPEC, most: int = 1000) -> Publishing:
    return publishing(spec, batch, driver="d", most=most)


def test_a_message_comes_back_as_it_was() -> None:
    headers: dict[str, Any] = {"t": "襷", "i": -(2**63), "j": 2**63 - 1, "f": 1.0, "b": True}
    content = b"\x92\xcb" + bytes(8) + encoded(Outgoing("ä", b"\0\xff", headers))
    id, body, got = decoded(content, b"7")
    assert (id, body, got) == ("ä", b"\0\xff", headers)
    assert {name: type(value) for name, value in got.items()} == {name: type(headers[name]) for name in headers}


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x92\xcb" + bytes(8) + b"\x93", b"\x92\x00\x93\xa1\x80\xc4\x00\x80", b"\xff" * 20]
)
def test_what_others_put_there_is_all_body(content: bytes) -> None:
    assert decoded(content, b"-7") == ("-7", content, {})


def test_keys_are_never_empty_and_end_where_they_end() -> None:
    texts = [key_text(key) for key in (None, "", "a", "a\0", "a\1", "a\0b", "a\1\2", "a\1\3")]
    assert texts[0] == b""
    assert len(set(texts)) == len(texts)
    assert all(text and b"\0" not in text and not text.endswith(b"\1") for text in texts[1:])


def test_durations_are_never_shortened() -> None:
    assert microseconds(0.3) == 300_000
    assert microseconds(1e-9) == 1
    assert microseconds(0.0) == 0


def test_plain_messages_travel_without_options() -> None:
    work = publish(Outgoing("a", b"1", {}), Outgoing("b", b"2", {}))
    (part,) = work.parts
    assert part.indexes == [0, 1]
    assert part.words == [0, encoded(Outgoing("a", b"1", {})), encoded(Outgoing("b", b"2", {}))]
    assert answer(work.results) == ()


def test_one_option_gives_options_to_all() -> None:
    work = publish(Outgoing("a", b"", {}), Outgoing("b", b"", {}, 1.5, 9, "k"))
    assert work.parts[0].words[0] == 1
    assert work.parts[0].words[2:6] == [0, 0, b"", 0]
    assert work.parts[0].words[7:] == [9, 1_500_000, b"=k", 0]


def test_a_moved_message_goes_in_a_command_of_its_own() -> None:
    plain, moved = publish(Outgoing("a", b"", {}), Outgoing("b", b"", {}, deduplicate=False)).parts
    assert (plain.words[0], plain.words[5]) == (1, 0)
    assert (moved.words[0], moved.words[5]) == (2, 1)


@pytest.mark.parametrize("delay", [-1.0, inf, nan])
def test_impossible_nacks_are_refused(delay: float) -> None:
    with pytest.raises(UnsupportedError, match="finite"):
        Settling([Nack(b"1:t", delay)])


def test_the_longest_time_is_within_what_the_server_counts_exactly() -> None:
    assert microseconds(1e300) == 2**52


def test_large_batches_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_BYTES", 250)
    work = publish(*(Outgoing(str(number), bytes(100), {}) for number in range(5)))
    assert [part.indexes for part in work.parts] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("ordering", ["none", "key"])
def test_many_messages_with_options_go_in_parts(ordering: Ordering) -> None:
    count = batches.MAX_OPTIONED[ordering]
    spec = QueueSpec("q", ordering=ordering)
    keyed = publish(*(Outgoing(str(number), b"", {}, key="k") for number in range(count + 1)), spec=spec)
    assert [len(part.indexes) for part in keyed.parts] == [count, 1]
    assert len(publish(*(Outgoing(str(number), b"", {}) for number in range(1000))).parts) == 1


@pytest.mark.parametrize(("ordering", "sizes"), [("none", [500, 100]), ("key", [100] * 6)])
def test_many_settlements_go_in_parts(ordering: Ordering, sizes: list[int]) -> None:
    batch = [Ack(b"%d:t" % number) for number in range(600)]
    parts = settled_together(QueueSpec("q", ordering=ordering), batch)
    assert [len(part) for part in parts] == sizes
    assert [item for part in parts for item in part] == batch


def test_what_cannot_be_kept_is_refused_alone() -> None:
    odd = Outgoing("odd", b"", {"n": 2**70})
    surrogate = Outgoing("s", b"", {"n": "\ud800"})
    work = publish(Outgoing("a", b"", {}), odd, Outgoing("large", bytes(1001), {}), surrogate, Outgoing("b", b"", {}))
    assert work.parts[0].indexes == [0, 4]
    kinds = [type(result) for result in answer(work.results)]
    assert kinds == [type(None), UnsupportedError, MessageTooLargeError, UnsupportedError, type(None)]


def test_a_key_that_cannot_be_kept_is_refused_alone() -> None:
    work = publish(Outgoing("a", b"", {}), Outgoing("b", b"", {}, key="\ud800"))
    assert work.parts[0].indexes == [0]
    assert [type(result) for result in answer(work.results)] == [type(None), UnsupportedError]


def test_one_fate_for_all_is_raised() -> None:
    work = publish(Outgoing("large", bytes(1001), {}))
    assert work.parts == []
    with pytest.raises(MessageTooLargeError, match="large"):
        answer(work.results)
    work = publish(Outgoing("a", b"", {}), Outgoing("b", b"", {}))
    work.reject([0], QueueFullError("full"))
    work.reject([1], DriverError("other"))
    assert [type(result) for result in answer(work.results)] == [QueueFullError, DriverError]


def test_deliveries_carry_receipts_of_their_receive() -> None:
    content = b"\x92\xcb" + bytes(8) + encoded(Outgoing("a", b"x", {"n": 1}))
    answer: list[Any] = [[b"1", b"-2"], [content, content], [None, b"4s"]]
    first, second = received(answer, "token")
    assert (first.receipt, first.attempt, first.id, first.body, first.headers) == (b"1:token", 1, "a", b"x", {"n": 1})
    assert (second.receipt, second.attempt, second.suspect) == (b"-2:token", 5, True)
    assert not first.suspect
    assert received(([b"1"], [content], []), "t")[0].attempt == 1


def test_settlements_by_kind_and_the_first_of_two_counts() -> None:
    batch: list[Settlement] = [Release(b"r"), Nack(b"n", 0.5), Ack(b"a"), Ack(b"n"), Nack(b"m"), Ack(7)]
    work = Settling(batch)
    assert work.words == [2, 2, b"a", b"-", b"n", b"m", b"r", 500_000, 0, 0]
    assert Settling([Release(b"r", 2.0)]).words == [0, 0, b"r", 2_000_000]
    assert work.stale([2, 5]) == [7, b"r", b"n"]
    assert Settling([]).words == [0, 0]
    assert readable([b"x", "x", None, 1]) == [b"x", b"-", b"-", b"-"]
