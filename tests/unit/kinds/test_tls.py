"""``tls`` of a driver: it agrees with the address, and whoever trusts any certificate is told so once."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tasuki.clock import SystemClock
from tasuki.kinds.build import build_driver
from tests.unit.kinds.conftest import Make

SECRET = "not-a-real-secret"


@pytest.mark.parametrize(
    ("driver", "fields", "is_enabled", "said"),
    [
        ("redis", f"url: 'rediss://x:{SECRET}@h'", False, "rediss://"),
        ("redis", f"url: 'valkeys://x:{SECRET}@h'", False, "valkeys://"),
        ("amqp", f"url: 'amqps://x:{SECRET}@h'", False, "amqps://"),
        ("nats", f"servers: ['nats://h', 'tls://{SECRET}@h']", False, "tls://"),
        ("postgres", f"url: 'postgresql://x:{SECRET}@h?sslmode=require'", False, "sslmode=require"),
        ("postgres", f"url: 'postgresql://x:{SECRET}@h?sslmode=verify-full'", False, "sslmode=verify-full"),
        ("postgres", f"url: 'postgresql://x:{SECRET}@h?sslmode=disable'", True, "sslmode=disable"),
        ("postgres", "listen_url: 'postgresql://h?sslmode=disable'", True, "sslmode=disable"),
    ],
)
def test_tls_and_the_address_may_not_contradict_each_other(
    problems: Callable[..., list[str]], project: Make, driver: str, fields: str, is_enabled: bool, said: str
) -> None:
    entry = f"  - name: d\n    kind: queue.driver.{driver}\n    {fields}\n"
    (problem,) = problems(f"{entry}    tls: {{enabled: {str(is_enabled).lower()}}}\n")
    assert problem.startswith("6:5: app:d: tls: enabled: ")
    assert f"contradicts {said} in the address; change one of them" in problem
    assert SECRET not in problem
    assert project(f"{entry}    tls: {{enabled: {str(not is_enabled).lower()}}}\n")


@pytest.mark.parametrize("driver", ["redis", "amqp", "nats", "postgres"])
def test_trust_in_any_certificate_is_warned_of_once(
    project: Make, caplog: pytest.LogCaptureFixture, driver: str
) -> None:
    entry = f"  - {{name: d, kind: queue.driver.{driver}, tls: {{enabled: %s, insecure_skip_verify: %s}}}}\n"
    for enabled, skips in ((True, False), (False, True)):
        build_driver(project(entry % (str(enabled).lower(), str(skips).lower())), "app:d", SystemClock())
    assert caplog.messages == []
    with caplog.at_level(logging.WARNING):
        build_driver(project(entry % ("true", "true")), "app:d", SystemClock())
    (message,) = caplog.messages
    assert message.startswith("driver app:d: insecure_skip_verify trusts any certificate")
