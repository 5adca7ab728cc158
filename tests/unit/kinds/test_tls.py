"""``tls`` of a driver: it agrees with the address, and a driver that trusts any certificate is warned of once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tasuki.clock import SystemClock
from tasuki.drivers.amqp.settings import AMQPSettings
from tasuki.drivers.nats.settings import NATSSettings
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.drivers.redis.settings import RedisSettings
from tasuki.fields.types import TlsConfig
from tasuki.kinds.build import build_driver, driver_settings
from tasuki.kinds.check.project import Project
from tests.support.narrow import present
from tests.unit.kinds.conftest import Make

SECRET = "not-a-real-secret"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n"
KEY = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"


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
    assert not [record for record in caplog.records if record.name.startswith("tasuki")]
    with caplog.at_level(logging.WARNING):
        build_driver(project(entry % ("true", "true")), "app:d", SystemClock())
    (message,) = caplog.messages
    assert message.startswith("driver app:d: insecure_skip_verify trusts any certificate")


def tls_of(checked: Project) -> TlsConfig:
    settings = driver_settings(checked, "app:d")
    assert isinstance(settings, AMQPSettings | NATSSettings | PostgresSettings | RedisSettings)
    return present(settings.tls)


@pytest.mark.parametrize("driver", ["redis", "amqp", "nats", "postgres"])
def test_certificates_and_keys_as_text(project: Make, tmp_path: Path, driver: str) -> None:
    (tmp_path / "ca.pem").write_text(CERTIFICATE)
    entry = f"  - {{name: d, kind: queue.driver.{driver}, tls: {{cert: '${{env:CERT}}', key_env: KEY, ca: 'file://ca.pem'}}}}\n"
    checked = project(entry, environ={"CERT": CERTIFICATE, "KEY": KEY})
    tls = tls_of(checked)
    assert (tls.cert, present(tls.key).get_secret_value(), tls.ca) == (CERTIFICATE, KEY, CERTIFICATE)
    assert SECRET not in repr(checked.configs["app:d"])


def test_anything_else_is_the_path_of_a_file(project: Make) -> None:
    checked = project("  - {name: d, kind: queue.driver.redis, tls: {cert: c.pem, key: keys/k.pem, ca: /etc/ca.pem}}\n")
    tls, root = tls_of(checked), checked.registry.root
    assert (tls.cert, present(tls.key).get_secret_value(), tls.ca) == (
        str(root / "c.pem"),
        str(root / "keys/k.pem"),
        "/etc/ca.pem",
    )


def test_wrong_text(problems: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text(SECRET)
    tls = "{cert: 'file://empty.pem', key: '${env:CERT}', ca: '${env:KEY}'}"
    found = problems(
        f"  - {{name: d, kind: queue.driver.redis, tls: {tls}}}\n", environ={"CERT": CERTIFICATE, "KEY": KEY}
    )
    assert [problem.partition(": app:d: ")[2] for problem in found] == [
        "tls.cert: the text contains no certificate in PEM form",
        "tls.key: the text contains no private key in PEM form",
        "tls.ca: the text contains no certificate in PEM form",
    ]


def test_a_file_that_cannot_be_read(problems: Callable[..., list[str]]) -> None:
    found = problems(
        "  - {name: d, kind: queue.driver.redis, tls: {ca: 'file://none.pem', cert: 'file:///../x', key: k}}\n"
    )
    assert len(found) == 2
    assert "leaves the source root" in found[1]
    assert "'none.pem' does not exist" in found[0]
