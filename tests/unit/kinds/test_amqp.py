"""``queue.driver.amqp``: its fields, what contradicts, and that the password stays where it belongs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasuki.backoff import UNTIL_BACK
from tasuki.clock import SystemClock
from tasuki.drivers.amqp.broker import Broker
from tasuki.drivers.amqp.driver import AMQPDriver
from tasuki.drivers.amqp.protocol.connecting import reconnecting
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.settings import AMQPSettings
from tasuki.fields.types import TlsConfig
from tasuki.kinds.build import build_driver, queue_spec
from tasuki.kinds.entries.queue import QueueConfig
from tests.support.narrow import instance
from tests.support.settings import parsed
from tests.unit.kinds.conftest import Make, Problems

SECRET = "hunter2"


def entry(fields: str) -> str:
    return f"  - {{name: r, kind: queue.driver.amqp, {fields}}}\n"


def queue(fields: str) -> str:
    return "  - {name: r, kind: queue.driver.amqp}\n" + f"  - {{name: q, kind: queue.queue, driver: r, {fields}}}\n"


def test_every_field_reaches_the_driver(project: Make) -> None:
    text = entry(
        f"url: 'amqps://me:{SECRET}@host:1,other/path', vhost: v, connection_name: n, auth_mechanism: EXTERNAL, "
        "heartbeat: 5s, connection_timeout: 1s, request_timeout: 2s, reconnect_delay: 3s, reconnect_max_delay: 4s, "
        "default_message_ttl: 1h, default_queue_ttl: 2h, default_queue_expiry: 24h, prefetch_count: 7, "
        "frame_size: 64KiB, channel_max: 9, tls: {cert: c.pem, key: k.pem, ca: a.pem, server_name: s}"
    )
    checked = project(text)
    driver = build_driver(checked, "app:r", SystemClock())
    settings = instance(instance(driver, AMQPDriver)._inner, Broker)._endpoint
    root = checked.registry.root
    assert (settings.hosts, settings.vhost, settings.user) == ([("host", 1), ("other", 5671)], "v", "me")
    assert (settings.password, settings.mechanism, settings.name) == (SECRET, "EXTERNAL", "n")
    assert (settings.heartbeat, settings.frame_size, settings.channel_max) == (5, 65536, 9)
    assert (settings.connection_timeout, settings.request_timeout) == (1.0, 2.0)
    assert (settings.reconnect_delay, settings.reconnect_max_delay) == (3.0, 4.0)
    assert settings.tls == parsed(
        TlsConfig, server_name="s", cert=str(root / "c.pem"), key=str(root / "k.pem"), ca=str(root / "a.pem")
    )
    assert settings.server_name("host") == "s"
    assert SECRET not in repr(checked.configs) + repr(settings) + settings.shown


def test_nothing_needs_to_be_given(project: Make) -> None:
    config = project(entry("meta: {}")).of(AMQPSettings)["app:r"]
    assert config.url.get_secret_value() == "amqp://guest:guest@localhost:5672/"
    assert (config.reconnect_delay, config.reconnect_max_delay, config.heartbeat) == (1.0, 2.0, 10.0)


def test_a_broker_that_is_back_is_tried_again_by_the_rule_of_all_drivers(project: Make) -> None:
    driver = build_driver(project(entry("meta: {}")), "app:r", SystemClock())

    async def ready(connection: Connection) -> None: ...

    backoff = reconnecting(instance(instance(driver, AMQPDriver)._inner, Broker)._endpoint, ready).attempts.backoff
    assert backoff == replace(UNTIL_BACK, initial_delay=1.0)
    assert all(0.5 <= backoff.delay(failures) <= 2.0 for failures in range(1, 1000))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (f"url: 'http://me:{SECRET}@host'", "write amqp://"),
        (f"url: 'amqp://me:{SECRET}@host:port/'", "write amqp://"),
        (f"url: 'amqp://me:{SECRET}@host,/'", "write amqp://"),
        ("url: 5", "write amqp://"),
        ("heartbeat: 100ms", "from 1s"),
        ("frame_size: 100", "at least 4096"),
        ("prefetch_count: 70000", "65535"),
        ("auth_mechanism: EXTERNAL", "EXTERNAL takes the user from a certificate"),
        ("auth_mechanism: GSSAPI", "AMQPLAIN"),
        ("tls: {cert: c.pem}", "cert and key belong together"),
    ],
)
def test_what_cannot_be_is_refused_without_the_password(problems: Problems, fields: str, problem: str) -> None:
    (text,) = problems(entry(fields))
    assert problem in text
    assert SECRET not in text


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("durable: false", "durable needs queue_type: classic"),
        ("exclusive: true", "exclusive needs queue_type: classic"),
        ("auto_delete: true", "auto_delete needs queue_type: classic"),
        ("dead_letter_routing_key: x", "needs dead_letter_exchange"),
        ("queue_type: stream", "quorum"),
        ("message_ttl: soon", "soon"),
        ("partitions: 65", "64"),
    ],
)
def test_options_of_a_queue_that_cannot_be(problems: Problems, options: str, problem: str) -> None:
    (text,) = problems(queue(f"options: {{{options}}}"))
    assert problem in text


def test_its_max_length_is_the_brokers_and_not_the_queues(project: Make, problems: Problems) -> None:
    config = project(queue("driver_options: {amqp: {max_length: 5}}")).of(QueueConfig)["app:q"]
    assert config.max_length is None
    assert queue_spec(config).options["max_length"] == 5
    (text,) = problems(queue("max_length: 5"))
    assert "bound the number of messages" in text


def test_no_queue_has_the_name_of_a_part_of_another(problems: Problems) -> None:
    text = """\
  - {name: r, kind: queue.driver.amqp}
  - {name: m, kind: queue.driver.memory}
  - {name: q, kind: queue.queue, driver: r, queue_name: tasks}
  - {name: a, kind: queue.queue, driver: r, queue_name: tasks.returned}
  - {name: tasks.p1, kind: queue.queue, driver: r}
  - {name: b, kind: queue.queue, driver: m, queue_name: tasks}
  - {name: c, kind: queue.queue, driver: m, queue_name: tasks.p1}
  - {name: d, kind: queue.queue, driver: r, queue_name: others.p1}
"""
    assert problems(text) == [
        "6:45: app:a: queue_name 'tasks.returned' is also the name of a part of 'app:q' at the broker; "
        "give one of them another queue_name",
        "7:5: app:tasks.p1: queue_name 'tasks.p1' is also the name of a part of 'app:q' at the broker; "
        "give one of them another queue_name",
    ]


@pytest.mark.parametrize(("options", "longest"), [("", "168h"), ("options: {consumer_timeout: 1h}, ", "1h")])
def test_a_handler_may_not_run_for_longer_than_the_broker_leaves_it_the_message(
    problems: Problems, project: Make, options: str, longest: str
) -> None:
    text = queue(f"{options}lease: 1s") + "  - {name: f, kind: function.python, target: 'json:dumps'}\n"
    consumer = "  - {{name: c, kind: queue.consumer, queue: q, func: f, handler_timeout: {}}}\n"
    project(text + consumer.format(longest))
    (problem,) = problems(text + consumer.format("8d"))
    assert f"handler_timeout (192h) is longer than the consumer_timeout ({longest}) of queue 'app:q'" in problem
    assert "give the queue a longer consumer_timeout" in problem
