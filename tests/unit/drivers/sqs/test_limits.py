"""Whole seconds, never early; limits of hiding; which delivery it is; and options as attributes."""

from __future__ import annotations

import pytest

from tasuki.drivers.sqs.limits import asked_for, delivery_number, hideable, in_force, whole


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 0), (0.1, 1), (1.0, 1), (1.01, 2), (-3.0, 0)])
def test_seconds_are_rounded_up(seconds: float, expected: int) -> None:
    assert whole(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "held_for", "expected"),
    [
        (30.0, 5.0, 30),
        (0.0, 5.0, 0),
        (43_200.0, 0.2, 43_200),
        (50_000.0, 0.2, 43_200),
        (43_200.0, 100.0, 43_095),
        (30.0, 43_180.0, 15),
        (30.0, 43_200.0, 0),
        (30.0, 50_000.0, 0),
    ],
)
def test_a_message_can_be_hidden_for_12_hours_from_its_receive(seconds: float, held_for: float, expected: int) -> None:
    assert hideable(seconds, held_for) == expected


@pytest.mark.parametrize(
    ("receives", "delay", "first_at", "expected"),
    [
        (1, 0.0, 1000.0, 1),
        (3, 0.0, 1000.0, 3),
        (2, 60.0, 1010.0, 1),  # received once before it was due
        (3, 60.0, 1010.0, 2),
        (1, 60.0, 1061.0, 1),  # no process received it before it was due
        (1, 60.0, 1010.0, 1),
        (4, 100_000.0, 1000.0, 1),  # hidden for 12 hours three times
        (2, 60.0, float("inf"), 2),  # the server does not say when
    ],
)
def test_receives_before_a_message_was_due_do_not_count(
    receives: int, delay: float, first_at: float, expected: int
) -> None:
    assert delivery_number(receives, sent_at=1000.0, first_at=first_at, delay=delay) == expected


def test_options_are_attributes_in_whole_seconds() -> None:
    options = {
        "message_retention_period": 90.2,
        "default_delay_seconds": 0.0,
        "default_visibility_timeout": None,
        "other": 1,
    }
    assert asked_for(options) == {"MessageRetentionPeriod": "91", "DelaySeconds": "0"}


def test_the_answer_of_sqs_goes_before_the_requested_value() -> None:
    options = {"default_delay_seconds": 5.0, "default_visibility_timeout": 9.0, "other": 1}
    said = {"DelaySeconds": "3", "MessageRetentionPeriod": "60"}
    assert in_force(options, said) == {"default_delay_seconds": 3.0, "default_visibility_timeout": 9.0, "other": 1}
