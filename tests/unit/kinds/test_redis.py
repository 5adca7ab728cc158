"""``queue.driver.redis``: its fields, what contradicts, and that secrets stay where they belong."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

import pytest

from tasuki.clock import SystemClock
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.redis.settings import Server
from tasuki.errors import ProjectError, UnsupportedError
from tasuki.kinds.build import build_driver
from tasuki.kinds.check.project import Project, check
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.registry.loader import load
from tests.support.narrow import instance
from tests.unit.kinds.conftest import Make, Problems

SECRET = "not-a-real-secret"


def built(project: Make, fields: str, **options: object) -> tuple[Project, RedisDriver]:
    checked = project(f"  - {{name: r, kind: queue.driver.redis, {fields}}}\n", **options)
    return checked, instance(build_driver(checked, "app:r", SystemClock()), RedisDriver)


def test_the_driver_gets_the_fields(project: Make) -> None:
    checked, driver = built(
        project, "addrs: 'one:1, two:2', username: me, password: '${env:WORD}', db: 3", environ={"WORD": SECRET}
    )
    settings = driver._session.addresses
    assert settings.servers == (Server("one", 1), Server("two", 2))
    assert (settings.login.username, settings.login.password, settings.login.db) == ("me", SECRET, 3)
    for thing in (settings, checked.configs["app:r"], driver.__dict__):
        assert SECRET not in repr(thing)


def test_a_url_is_a_secret_too(project: Make) -> None:
    checked, driver = built(project, "url: '${env:URL}'", environ={"URL": f"rediss://me:{SECRET}@host:7/1"})
    settings = driver._session.addresses
    assert (settings.servers, settings.login.password) == ((Server("host", 7),), SECRET)
    assert settings.login.tls is not None
    assert SECRET not in repr(checked.configs["app:r"])
    assert str(settings) == "host:7"


def test_without_fields_it_is_the_server_of_this_machine(project: Make) -> None:
    _, driver = built(project, "meta: {}")
    assert driver._session.addresses.servers == (Server("localhost", 6379),)
    assert driver.durability == "process"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (f"url: 'redis://x:{SECRET}@h', addrs: h", "url and addrs"),
        (f"url: 'http://x:{SECRET}@h'", "rediss://"),
        (f"password: [{SECRET}]", "expected a text"),
        (f"url: {{{SECRET}: 1}}", "expected a text"),
        ("is_cluster_mode: true, master_name: m", "not both"),
        ("is_cluster_mode: true, db: 1", "database 0"),
        ("master_name: m, url: 'redis://h'", "addrs"),
        ("addrs: []", "addrs"),
        ("addrs: 'h:port'", "write host:port"),
        ("tls: {cert: c.pem}", "cert and key"),
        ("claim_interval: 0s", "claim_interval"),
    ],
)
def test_what_contradicts_is_found_at_the_check(problems: Problems, fields: str, problem: str) -> None:
    found = problems(f"  - {{name: r, kind: queue.driver.redis, {fields}}}\n")
    assert any(problem in text for text in found)
    assert not any(SECRET in text for text in found)


def test_the_options_of_a_queue(project: Make, problems: Problems) -> None:
    entry = "  - {name: q, kind: queue.queue, driver: r, options: {%s}}\n"
    driver = "  - {name: r, kind: queue.driver.redis}\n"
    checked = project(driver + entry % "wait_replicas: 2, wait_fsync: true, expires: 10m, max_length: 5")
    config = checked.of(QueueConfig)["app:q"]
    assert config.max_length == 5
    assert {name: config.options[name] for name in ("wait_replicas", "wait_fsync", "expires")} == {
        "wait_replicas": 2,
        "wait_fsync": True,
        "expires": 600.0,
    }
    assert any("expires" in text for text in problems(driver + entry % "expires: 59s"))


def test_files_of_tls_start_at_the_project(tmp_path: Path) -> None:
    text = "namespace: app\nentries:\n  - {name: r, kind: queue.driver.redis, tls: {ca: certs/ca.pem}}\n"
    (tmp_path / "p.yaml").write_text(text)
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "ca.pem").write_text("no certificate")
    with pytest.raises(UnsupportedError, match="file of tls") as error:
        build_driver(check(load(tmp_path)), "app:r", SystemClock())
    assert isinstance(error.value.__cause__, ssl.SSLError)  # it was found, and is none


def test_a_missing_client_says_what_to_install(project: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tasuki.drivers.redis.connecting.nodes", "tasuki.drivers.redis.connecting.link"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "hiredis", None)
    checked = project("  - {name: r, kind: queue.driver.redis}\n")
    with pytest.raises(UnsupportedError, match=r"pip install 'tasuki\[redis\]'"):
        build_driver(checked, "app:r", SystemClock())


@pytest.mark.parametrize(
    "fields",
    [
        "kind: queue.driver.redis, url: 'redis://:%s@[::1/0'",
        "kind: queue.driver.redis, url: 'redis://me:a/%s@host:1/0'",
        "kind: queue.driver.nats, servers: ['nats://me:%s@host:port']",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_at_check(project: Make, fields: str) -> None:
    with pytest.raises(ProjectError, match="cannot be read") as caught:
        project(f"  - {{name: r, {fields % SECRET}}}\n")
    assert SECRET not in str(caught.value)
