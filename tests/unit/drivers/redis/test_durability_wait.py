from __future__ import annotations

from typing import Any

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.redis import durability_wait
from tasuki.errors import BrokerTimeoutError


@pytest.mark.parametrize(
    ("options", "demand", "command"),
    [
        ({"wait_replicas": 2}, "0 2", ("WAIT", 2, 8000)),
        ({"wait_fsync": True}, "1 0", ("WAITAOF", 1, 0, 8000)),
        ({"wait_fsync": True, "wait_replicas": 1}, "1 1", ("WAITAOF", 1, 1, 8000)),
    ],
)
def test_the_server_waits_for_what_the_queue_demands(
    options: dict[str, Any], demand: str, command: tuple[object, ...]
) -> None:
    assert durability_wait.demand(QueueSpec("q", options=options)) == demand
    fsync, replicas = map(int, demand.split())
    assert tuple(durability_wait.command(fsync, replicas, 10.0)) == command


def test_a_queue_without_options_demands_nothing() -> None:
    for options in ({}, {"wait_replicas": 0, "wait_fsync": False}, {"expires": 60.0}):
        assert durability_wait.demand(QueueSpec("q", options=options)) == ""


@pytest.mark.parametrize(
    ("answer", "fsync", "replicas", "problem"),
    [
        (1, 0, 2, "1 of 2 replicas have the messages"),
        ([0, 2], 1, 2, "its disk is late"),
        ([1, 0], 1, 1, "0 of 1 replicas have the messages"),
    ],
)
def test_a_message_that_is_not_kept_is_of_unknown_outcome(answer: Any, fsync: int, replicas: int, problem: str) -> None:
    with pytest.raises(BrokerTimeoutError, match=problem) as late:
        durability_wait.check(answer, fsync, replicas, driver="d", queue="q")
    assert late.value.outcome == "unknown"


@pytest.mark.parametrize(("answer", "fsync", "replicas"), [(2, 0, 1), ([1, 0], 1, 0), ([1, 1], 1, 1)])
def test_a_message_that_is_kept_is_confirmed(answer: Any, fsync: int, replicas: int) -> None:
    durability_wait.check(answer, fsync, replicas, driver="d", queue="q")


def test_on_the_disk_it_survives_a_power_failure() -> None:
    spec = QueueSpec("q", options={"wait_fsync": True})
    assert [durability_wait.level(level, spec) for level in ("memory", "process", "broker", "power")] == [
        "memory",
        "process",
        "power",
        "power",
    ]
    assert durability_wait.level("broker", QueueSpec("q")) == "broker"
