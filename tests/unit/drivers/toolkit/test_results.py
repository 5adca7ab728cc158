from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan
from typing import Any

import pytest

from tasuki.contracts.driver import ACTS, SPANS, Capabilities, Merged, Outgoing, QueueSpec, Unique
from tasuki.drivers.toolkit.results import (
    Results,
    answer,
    answered_in_order,
    check_bounds,
    in_force,
    is_receipt,
    pieces,
    published_again,
    refusal,
    sorted_out,
    stored_in_order,
)
from tasuki.errors import (
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    QueueFullError,
    QueueNotFoundError,
    UnsupportedError,
)


def full() -> DriverError:
    return QueueFullError("full")


def test_the_common_case_has_no_results() -> None:
    assert answer([]) == ()
    assert answer([None, None]) == ()


@pytest.mark.parametrize("number", [1, 3])
def test_a_fate_that_all_messages_share_is_raised(number: int) -> None:
    errors = [full() for _ in range(number)]
    with pytest.raises(QueueFullError) as caught:
        answer(errors)
    assert caught.value is errors[0]


def test_different_fates_are_returned() -> None:
    lost, refused = (BrokerUnavailableError("away", outcome=outcome) for outcome in ("unknown", "rejected"))
    for results in ([None, full()], [full(), None], [full(), lost], [lost, refused]):
        assert answer(results) is results


def test_messages_are_stored_in_order_but_for_refused_ones() -> None:
    refused, failed = {1: DriverError("too large")}, full()
    assert stored_in_order(4, 2, refused, failed) == [None, refused[1], None, failed]
    assert stored_in_order(2, 2, {}, failed) == ()
    with pytest.raises(QueueFullError):
        stored_in_order(3, 0, {}, failed)


@pytest.mark.anyio
@pytest.mark.parametrize("again", [[], [None, QueueFullError("full")]], ids=["all confirmed", "one each"])
async def test_lost_messages_are_published_again_and_their_results_take_the_places_of_the_first(
    again: list[DriverError | None],
) -> None:
    batch = [Outgoing(str(number), b"", {}) for number in range(4)]
    lost, refused = QueueNotFoundError("deleted"), full()
    given: list[str] = []

    async def publish(left: Sequence[Outgoing]) -> Results:
        given.extend(message.id for message in left)
        return again

    def is_lost(result: DriverError | None) -> bool:
        return isinstance(result, QueueNotFoundError)

    results = await published_again(batch, [refused, lost, None, lost], is_lost, publish)
    assert given == ["1", "3"]
    assert results == [refused, None, None, again[1] if again else None]
    assert await published_again(batch, [refused, None], is_lost, publish) == [refused, None]
    assert given == ["1", "3"], "nothing is lost: nothing is published again"


@pytest.mark.anyio
async def test_a_second_publish_that_fails_is_the_fate_of_the_lost_messages_alone() -> None:
    batch = [Outgoing(str(number), b"", {}) for number in range(3)]
    away = BrokerUnavailableError("the connection was lost", outcome="unknown")

    async def publish(left: Sequence[Outgoing]) -> Results:
        raise away

    lost = QueueNotFoundError("deleted")
    results = await published_again(batch, [None, lost, lost], lambda result: result is lost, publish)
    assert results == [None, away, away]


def refuse(message: Outgoing) -> DriverError | None:
    return refusal(message, driver="app:x", queue="q", most=2, encode=lambda message: message.id.encode())


def test_messages_that_cannot_be_kept_are_sorted_out() -> None:
    large, unsound, both = Outgoing("large", b"abc", {}), Outgoing("\ud800", b"", {}), Outgoing("\ud800", b"abc", {})
    sound, refused = sorted_out([Outgoing("a", b"ab", {}), large, unsound, both, Outgoing("b", b"", {})], refuse)
    assert [message.id for message in sound] == ["a", "b"]
    assert {index: type(error) for index, error in refused.items()} == {
        1: MessageTooLargeError,
        2: UnsupportedError,
        3: MessageTooLargeError,
    }
    assert (refused[1].driver, refused[1].queue, refused[1].outcome) == ("app:x", "q", "rejected")
    assert str(refused[1]) == "message 'large' was not stored: it is larger than 2 bytes"


def test_an_inspected_queue_has_the_options_of_the_broker() -> None:
    asked = QueueSpec("q", max_length=5, priorities=True, options={"a": 1})
    expected = QueueSpec("q", 7.0, None, "key", 3.0, priorities=True, temporary=True, options={"a": 1})
    assert in_force(asked, 7.0, None, True, 3.0, True) == expected
    assert in_force(asked, 7.0, 1, False, None, False).ordering == "none"


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], [[]]),
        ([1, 2], [[1, 2]]),
        ([3, 3, 3], [[3], [3], [3]]),
        ([9, 1, 9], [[9], [1], [9]]),
        ([2, 3, 1], [[2, 3], [1]]),
        ([0, 0, 0, 0], [[0, 0, 0], [0]]),
    ],
)
def test_a_batch_is_cut_by_bytes_and_by_messages(sizes: list[int], expected: list[list[int]]) -> None:
    assert [sizes[piece] for piece in pieces(sizes, 5, 3)] == expected


def test_receipts_of_another_form_are_not_ours() -> None:
    assert is_receipt((1, 2))
    assert [receipt for receipt in (1, "ab", (1,), [1, 2], None) if is_receipt(receipt)] == []


ALL = frozenset({*SPANS, *ACTS})


def message(unique: Unique | None = None, **options: Any) -> Outgoing:
    return Outgoing("m", b"", {}, unique=unique, **options)


def check(*batch: Outgoing, known: frozenset[str] = ALL) -> bool:
    return check_bounds(batch, driver="d", queue="q", unique=known)


def test_whether_a_batch_has_a_unique_message() -> None:
    assert not check(message(), message(delay=5.0))
    assert check(message(), message(Unique("k")))
    assert not check()


@pytest.mark.parametrize("needed", ["pending", "running", "window", "keep", "replace", "extend"])
def test_a_driver_refuses_what_it_does_not_claim(needed: Any) -> None:
    span: Any = needed if needed in ("pending", "running") else 60.0 if needed == "window" else "pending"
    unique = Unique("k", span, needed if needed in ACTS else "keep")
    assert check(message(unique))
    with pytest.raises(UnsupportedError, match=f"message 'm': the driver does not keep messages unique by {needed}"):
        check(message(unique), known=ALL - {needed})


@pytest.mark.parametrize("unique", [Unique("k", 0.0), Unique("k", -1.0), Unique("k", inf), Unique("k", nan)])
def test_a_window_that_cannot_be(unique: Unique) -> None:
    with pytest.raises(UnsupportedError, match=r"its window is .* seconds; give more than 0, and a finite number"):
        check(message(unique))


@pytest.mark.parametrize("latest", [-1.0, inf, nan])
def test_a_latest_time_that_cannot_be(latest: float) -> None:
    with pytest.raises(UnsupportedError, match=r"latest is .* seconds; give 0 or more, and a finite number"):
        check(message(Unique("k", act="extend", latest=latest)))


def test_the_answers_of_a_batch() -> None:
    full, bad = QueueFullError("full"), DriverError("bad")
    kept = Merged("kept", "x")
    assert answered_in_order(3, [None, None, None], {}, full) == ()
    assert answered_in_order(3, [None, kept, None], {}, full) == [None, kept, None]
    assert answered_in_order(4, [kept], {1: bad}, full) == [kept, bad, full, full]
    with pytest.raises(QueueFullError):
        answered_in_order(2, [], {}, full)


def test_what_a_driver_has() -> None:
    none, some = Capabilities(), Capabilities("power", frozenset({"peek"}), frozenset({"running", "keep"}))
    names = ("multi_process", "peek", "unique", "unique:running", "unique:keep")
    assert [none.has(name) for name in names] == [False] * 5
    assert [some.has(name) for name in names] == [True] * 5
    assert not some.has("unique:pending")
