"""Warnings: what a driver cannot honor is named at its line, with the reason; the project is good all the same."""

from __future__ import annotations

import pytest

from tasuki.kinds.warnings import warnings_of
from tests.unit.kinds.conftest import Make

ENTRIES = """\
  - {name: rabbit, kind: queue.driver.amqp}
  - {name: amazon, kind: queue.driver.sqs}
  - {name: q, kind: queue.queue, driver: %s}
  - {name: f, kind: function.lua, source: return 1}
  - name: c
    kind: queue.consumer
    queue: q
    func: f
    driver_options:
      amqp:
        exclusive: %s
        no_local: true
        no_wait: true
        consumer_tag: worker-1
      sqs:
        wait_time: 20
        visibility_timeout: 2m
"""


def test_options_without_effect_are_named_at_their_line(project: Make) -> None:
    warnings = [str(warning) for warning in warnings_of(project(ENTRIES % ("rabbit", "true")))]
    assert [warning.partition(" has no effect; ")[0] for warning in warnings] == [
        "p.yaml:13:9: app:c: amqp option exclusive",
        "p.yaml:14:9: app:c: amqp option no_local",
        "p.yaml:15:9: app:c: amqp option no_wait",
        "p.yaml:16:9: app:c: amqp option consumer_tag",
    ]
    reasons = [warning.partition(" has no effect; ")[2] for warning in warnings]
    assert reasons[1] == "RabbitMQ does not implement it"
    assert all(reasons)


def test_only_those_of_the_driver_in_use_and_no_defaults(project: Make) -> None:
    text = ENTRIES % ("rabbit", "false")
    assert [warning.position.line for warning in warnings_of(project(text)) if warning.position] == [14, 15, 16]
    warnings = warnings_of(project(ENTRIES % ("amazon", "true")))
    assert [(warning.entry, warning.problem) for warning in warnings] == [
        ("app:c", "sqs option wait_time has no effect"),
        ("app:c", "sqs option visibility_timeout has no effect"),
    ]
    assert (
        warnings_of(project("  - {name: a, kind: queue.driver.amqp}\n  - {name: q, kind: queue.queue, driver: a}\n"))
        == []
    )


@pytest.mark.parametrize("bag", ["driver_options: {amqp: {no_wait: true}}", "driver_options: {no_wait: true}"])
def test_wherever_they_stand(project: Make, bag: str) -> None:
    entries = ENTRIES.partition("    driver_options")[0] % "rabbit"
    (warning,) = warnings_of(project(f"{entries}    {bag}\n"))
    assert warning.position is not None
    assert (warning.position.line, warning.position.column) == (11, 5 + bag.index("no_wait"))


def test_wrong_values_are_errors(problems) -> None:
    text = (ENTRIES % ("amazon", "nearly")).replace("wait_time: 20", "wait_time: 21")
    assert problems(text) == [
        "13:9: app:c: amqp option exclusive: true or false is wanted, not the text 'nearly'",
        "18:9: app:c: sqs option wait_time must be at most 20, not the number 21",
    ]
