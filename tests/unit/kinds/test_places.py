"""A broker queue has one id: two driver entries that lead to the same place share its queues."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.kinds.conftest import Make

QUEUES = """\
  - {name: one, kind: queue.queue, driver: a, queue_name: tasks}
  - {name: two, kind: queue.queue, driver: b, queue_name: tasks}
"""
SAME = [
    ("sqlite", "path: x/q.db", "path: ./x/../x/q.db"),
    ("sqlite", "path: .tasuki/queue.db", "{}"),
    ("sqlite", "path: q.db, synchronous: normal", "path: link.db"),
    ("postgres", "url: 'postgresql://a:x@h/db'", "url: 'postgres://b:y@h:5432/db?sslmode=require', pool_size: 2"),
    ("postgres", "{}", "url: 'postgresql://127.0.0.1'"),
    ("postgres", "url: 'postgresql:///db?host=/run/pg'", "url: 'postgresql://%2Frun%2Fpg/db'"),
    ("postgres", "url: 'postgresql://one,two/db'", "url: 'postgresql://two:5432,one:5432/db'"),
    ("redis", "{}", "url: 'redis://localhost:6379/0'"),
    ("redis", "addrs: '127.0.0.1:6379', db: 1", "url: 'rediss://u:p@[::1]/1'"),
    ("redis", "addrs: [a, 'b:26379'], master_name: m", "addrs: 'b, a:26379', master_name: m"),
    ("redis", "url: 'unix:///run/r?db=2'", "url: 'unix:///run/r', db: 2"),
    ("amqp", "{}", "url: 'amqp://me:pw@localhost/%2F'"),
    ("amqp", "url: 'amqp://a:5672,b/prod'", "url: 'amqp://b,a/x', vhost: prod"),
    ("nats", "{}", "servers: 'nats://localhost:4222'"),
    ("nats", "servers: 'nats://u:p@a,nats://u:p@b'", "servers: ['nats://u:q@b:4222', 'nats://u:q@a']"),
    ("sqs", "endpoint: 'http://h'", "endpoint: 'http://h', default_delay_seconds: 1"),
]
APART = [
    ("memory", "{}", "{}"),
    ("sqlite", "path: a.db", "path: b.db"),
    ("postgres", "url: 'postgresql://h/a'", "url: 'postgresql://h/b'"),
    ("postgres", "url: 'postgresql://h/a'", "url: 'postgresql://h/a', schema: other"),
    ("redis", "db: 1", "db: 2"),
    ("redis", "prefix: a", "prefix: b"),
    ("amqp", "vhost: a", "vhost: b"),
    ("amqp", "url: 'amqp://h:1'", "url: 'amqp://h:2'"),
    ("nats", "stream_prefix: a", "stream_prefix: b"),
    ("nats", "user: a, password: x", "user: b, password: x"),
    ("sqs", "endpoint: 'http://h'", "endpoint: 'http://i'"),
]


def drivers(driver: str, first: str, second: str) -> str:
    fields = {"a": first, "b": second}
    return "".join(
        f"  - {{name: {name}, kind: queue.driver.{driver}{'' if given == '{}' else f', {given}'}}}\n"
        for name, given in fields.items()
    )


@pytest.mark.parametrize(("driver", "first", "second"), SAME)
def test_one_broker_queue_with_two_ids_is_refused(
    problems: Callable[..., list[str]], tmp_path: Path, driver: str, first: str, second: str
) -> None:
    (tmp_path / "q.db").touch()
    (tmp_path / "link.db").symlink_to("q.db")
    assert problems(drivers(driver, first, second) + QUEUES) == [
        "6:47: app:two: queue_name 'tasks' is already taken by 'app:one': 'app:b' and 'app:a' lead to the same place; "
        "give one of them another queue_name"
    ]


@pytest.mark.parametrize(("driver", "first", "second"), APART)
def test_queues_of_one_name_at_different_places_are_not_one(
    project: Make, driver: str, first: str, second: str
) -> None:
    assert project(drivers(driver, first, second) + QUEUES)


def test_driver_entries_of_one_place_may_have_different_queues(project: Make) -> None:
    assert project(drivers("sqlite", "{}", "{}") + QUEUES.replace("tasks", "first", 1))
