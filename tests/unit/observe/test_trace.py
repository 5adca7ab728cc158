from __future__ import annotations

import pytest

from tasuki.message import HeaderValue, Message
from tasuki.observe.trace import (
    CURRENT,
    MAX_TRACESTATE,
    Traceparent,
    common,
    current_traceparent,
    fit_tracestate,
    hand_on,
    handed_on,
    is_unsampled,
    trace_of,
    traceparent_of,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"

HOSTILE: list[HeaderValue] = [
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"ff-{TRACE}-{SPAN}-01",
    f"00-{TRACE.upper()}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}-01-more",
    f"00-{TRACE}-{SPAN}",
    f"00-{TRACE}-{SPAN}-01\n",
    f"01-{TRACE}-{SPAN}-01-\x00",
    f"01-{TRACE}-{SPAN}-01-{'a' * 10_000}",
    f"00-{TRACE[:-1]}é-{SPAN}-01",
    f"00-{TRACE[:-1]}٣-{SPAN}-01",
    TRACE,
    "",
    7,
    1.5,
    True,
]


def test_a_traceparent_has_ids_and_a_flag() -> None:
    found = traceparent_of(PARENT)

    assert found == Traceparent(TRACE, SPAN, 1)
    assert found.is_sampled
    assert str(found) == PARENT


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    found = traceparent_of(f"01-{TRACE}-{SPAN}-02-more")

    assert found == Traceparent(TRACE, SPAN, 2)
    assert not found.is_sampled


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_traceparent_is_ignored(value: HeaderValue) -> None:
    assert traceparent_of(value) is None
    assert handed_on({"traceparent": value, "tracestate": "a=1"}) == {}
    assert trace_of(Message("1", b"", {"traceparent": value})) is None


def test_no_traceparent_is_ignored_too() -> None:
    assert traceparent_of(None) is None
    assert trace_of(Message("1", b"", {})) is None
    assert trace_of(Message("1", b"", {"traceparent": PARENT})) == TRACE


@pytest.mark.parametrize(
    ("value", "is_it"),
    [
        (f"00-{TRACE}-{SPAN}-00", True),
        (f"00-{TRACE}-{SPAN}-fe", True),
        (PARENT, False),
        (f"00-{TRACE}-{SPAN}-0g", False),
        ("garbage", False),
        (None, False),
        (8, False),
    ],
)
def test_the_flag_says_that_a_trace_is_not_recorded(value: object, is_it: bool) -> None:
    assert is_unsampled(value) is is_it


def test_a_tracestate_that_fits_is_unchanged() -> None:
    text = "a=" + "b" * (MAX_TRACESTATE - 2)

    assert fit_tracestate(text) == text


def test_a_long_tracestate_loses_long_members_first_and_then_the_last_ones() -> None:
    members = [f"vendor{number}=" + "v" * 100 for number in range(6)]

    assert fit_tracestate(",".join(["long=" + "x" * 200, *members])) == ",".join(members[:4])
    assert len(",".join(members[:4])) <= MAX_TRACESTATE
    assert fit_tracestate("long=" + "x" * 600) is None


@pytest.mark.parametrize("value", ["", "a=\n", "a=\x7f", "a=é", 5, None])
def test_a_tracestate_that_no_header_can_hold_is_dropped(value: object) -> None:
    assert fit_tracestate(value) is None


def test_a_huge_tracestate_is_cut_before_it_is_read() -> None:
    assert fit_tracestate("a=1," * 1_000_000) == ",".join(["a=1"] * 128)


def test_messages_continue_a_trace_unless_their_publisher_has_given_one() -> None:
    plain, own, state = Message("1", b"", {}), Message("2", b"", {"traceparent": "mine"}), Message("3", b"", {"a": 1})
    state.headers["tracestate"] = "other=1"

    hand_on({"traceparent": PARENT, "tracestate": "a=1", "more": 1}, [plain, own, state])

    assert plain.headers == {"traceparent": PARENT, "tracestate": "a=1"}
    assert own.headers == {"traceparent": "mine"}
    assert state.headers == {"traceparent": PARENT, "tracestate": "a=1", "a": 1}


def test_without_a_valid_trace_messages_stay_as_they_are() -> None:
    message = Message("1", b"", {"tracestate": "mine=1"})

    hand_on({"traceparent": "nonsense"}, [message])

    assert message.headers == {"tracestate": "mine=1"}


def test_messages_of_a_batch_have_a_trace_in_common_or_none() -> None:
    one, other = {"traceparent": PARENT}, {"traceparent": PARENT.replace("-01", "-00")}

    assert common([one, dict(one)]) == one
    assert common([one, other]) is None
    assert common([one, {}]) is None
    assert common([{}, {}]) is None


def test_the_trace_that_runs_now() -> None:
    assert current_traceparent() is None
    mark = CURRENT.set({"traceparent": PARENT})
    try:
        assert current_traceparent() == PARENT
    finally:
        CURRENT.reset(mark)
