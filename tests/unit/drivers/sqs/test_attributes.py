from __future__ import annotations

from tasuki.drivers.sqs.limits import asked_for, in_force


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
