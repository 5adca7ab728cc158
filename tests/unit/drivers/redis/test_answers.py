"""Answers of a server: what its refusals mean, and what its configuration promises."""

from __future__ import annotations

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.redis.connecting.probe import Facts, level, objection
from tasuki.drivers.redis.errors import LinkLostError, ReplyError, translated
from tasuki.drivers.redis.scripts import PUBLISH, place
from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    QueueFullError,
    QueueNotFoundError,
    UnsupportedError,
)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("UNDECLARED the queue does not exist at the broker", QueueNotFoundError),
        ("OOM command not allowed when used memory > 'maxmemory'.", QueueFullError),
        ("MISCONF Redis is configured to save RDB snapshots", BrokerUnavailableError),
        ("READONLY You can't write against a read only replica.", BrokerUnavailableError),
        ("NOREPLICAS Not enough good replicas to write.", BrokerUnavailableError),
        ("LOADING Redis is loading the dataset in memory", BrokerUnavailableError),
        ("MASTERDOWN Link with MASTER is down", BrokerUnavailableError),
        ("CLUSTERDOWN The cluster is down", BrokerUnavailableError),
        ("TRYAGAIN Multiple keys request during rehashing of slot", BrokerUnavailableError),
        ("BUSY Redis is busy running a script.", BrokerUnavailableError),
        ("NOAUTH Authentication required.", AccessDeniedError),
        ("WRONGPASS invalid username-password pair", AccessDeniedError),
        ("NOPERM this user has no permissions", AccessDeniedError),
        ("ERR AUTH <password> called without any password configured", AccessDeniedError),
        ("ERR max number of clients reached", BrokerUnavailableError),
        ("ERR Protocol error: invalid bulk length", MessageTooLargeError),
        ("MOVED 3999 127.0.0.1:6381", UnsupportedError),
        ("ERR something new", DriverError),
    ],
)
def test_refusals_did_nothing(text: str, kind: type[DriverError]) -> None:
    error = translated(ReplyError(text), driver="d", queue="q", place="h:1")
    assert type(error) is kind
    assert error.outcome == "rejected"
    assert text in str(error)
    assert "h:1" in str(error)


def test_lost_connections_may_have_done_it() -> None:
    lost = translated(LinkLostError("cut"), driver="d", queue="q", place="h:1")
    late = translated(LinkLostError("late", is_timeout=True), driver="d", queue="q", place="h:1")
    unsent = translated(LinkLostError("away", is_sent=False), driver="d", queue="q", place="h:1")
    assert [(type(error), error.outcome) for error in (lost, late, unsent)] == [
        (BrokerUnavailableError, "unknown"),
        (BrokerTimeoutError, "unknown"),
        (BrokerUnavailableError, "rejected"),
    ]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (Facts(version="6.0.16"), "6.0.16"),
        (Facts(version="5.0"), "5.0"),
        (Facts(version="8.0.2", maxmemory="1000", policy="allkeys-lru"), "noeviction"),
        (Facts(version="8.0.2", maxmemory="1000", policy="volatile-ttl"), "noeviction"),
        (Facts(version="8.0.2", maxmemory="1000", policy="noeviction"), ""),
        (Facts(version="8.0.2", maxmemory="0", policy="allkeys-lru"), ""),
        (Facts(version="6.2.0"), ""),
        (Facts(version="7.2.4"), ""),
        (Facts(), ""),
    ],
)
def test_objections(facts: Facts, reason: str) -> None:
    assert (reason in objection(facts)) is True
    assert bool(objection(facts)) is bool(reason)


def test_levels() -> None:
    assert level(Facts()) == "process"
    assert level(Facts(appendonly="no", appendfsync="always")) == "process"
    assert level(Facts(appendonly="1")) == "broker"
    assert level(Facts(appendonly="yes", appendfsync="everysec")) == "broker"
    assert level(Facts(appendonly="yes", appendfsync="always")) == "power"


def test_all_keys_of_a_queue_are_in_one_slot_whatever_its_name() -> None:
    # The slot of "123456789" is the check value of the checksum's definition.
    assert place("123456789", QueueSpec("x")).keys[0] == b"{123456789:x}:queue"
    for name in ("tasks", "{", "}", "a{b}c", "%7B", "app:tasks"):
        where = place("tasuki", QueueSpec(name))
        tags = {key[key.index(b"{") + 1 : key.index(b"}")] for key in where.keys}
        assert len(tags) == 1
        assert len(set(where.keys)) == 18
        assert where.channel == where.keys[0]
    assert place("t", QueueSpec("{")).keys != place("t", QueueSpec("%7B")).keys


def test_scripts_are_fixed_and_touch_declared_keys_only() -> None:
    assert "ARGV" in PUBLISH.text
    assert "loadstring" not in PUBLISH.text
    assert len(PUBLISH.hash) == 40
