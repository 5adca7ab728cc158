from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tasuki.drivers.redis.connecting.addresses import Addresses, addresses
from tasuki.drivers.redis.settings import RedisSettings, Server


def settings(fields: Mapping[str, Any]) -> Addresses:
    return addresses(RedisSettings(**fields))


@pytest.mark.parametrize(
    ("fields", "servers"),
    [
        ({}, [Server("localhost", 6379)]),
        ({"addrs": "one"}, [Server("one", 6379)]),
        ({"addrs": "one:1, two:2"}, [Server("one", 1), Server("two", 2)]),
        ({"addrs": ["[::1]:3", "/run/redis.sock"]}, [Server("::1", 3), Server("/run/redis.sock", 0)]),
        ({"addrs": ["s"], "master_name": "m"}, [Server("s", 26379)]),
        ({"url": "redis://h"}, [Server("h", 6379)]),
        ({"url": "redis://"}, [Server("localhost", 6379)]),
        ({"url": "valkey://[::1]:4/2"}, [Server("::1", 4)]),
        ({"url": "unix:///run/re%20dis.sock?db=3"}, [Server("/run/re dis.sock", 0)]),
    ],
)
def test_servers(fields: dict[str, Any], servers: list[Server]) -> None:
    assert list(settings(fields).servers) == servers


def test_the_login_is_of_the_url_and_fields_go_before_it() -> None:
    login = settings({"url": "redis://us%40er:p%2Fw@h/7", "client_name": "me"}).login
    assert (login.username, login.password, login.db, login.client_name, login.tls) == ("us@er", "p/w", 7, "me", None)
    login = settings({"url": "redis://user:word@h/7", "username": "u", "password": "w", "db": 8}).login
    assert (login.username, login.password, login.db) == ("u", "w", 8)
    assert settings({"url": "unix:///s?db=3"}).login.db == 3
    sentinel = settings({"addrs": "s", "master_name": "m", "sentinel_username": "u", "sentinel_password": "w"}).sentinel
    assert (sentinel.username, sentinel.password, sentinel.db) == ("u", "w", 0)


def test_encryption() -> None:
    assert settings({"url": "rediss://h"}).login.tls is not None
    assert settings({"url": "redis://h", "tls": {"enabled": False}}).login.tls is None
    encrypted = settings({"addrs": "h", "tls": {"server_name": "n", "insecure_skip_verify": True}})
    assert encrypted.login.tls is encrypted.sentinel.tls is not None
    assert encrypted.login.server_name == "n"


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "http://user:secret-word@h"},
        {"url": "redis://user:secret-word@h:port"},
        {"url": "redis://user:secret-word@h/tasks"},
        {"addrs": "user:secret-word@h:1"},
        {"addrs": ["h:1", ""]},
        {"addrs": "h:99999"},
        {"is_cluster_mode": True, "db": 1},
        {"is_cluster_mode": True, "master_name": "m"},
    ],
)
def test_what_cannot_be_is_said_without_secrets(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as problem:  # noqa: PT011 - the text is checked below
        settings(fields)
    assert "secret-word" not in str(problem.value)


def test_nothing_shows_secrets() -> None:
    found = settings({"url": "redis://secret-user:secret-word@h:1", "sentinel_password": "secret-word"})
    assert str(found) == "h:1"
    assert "secret" not in repr(found)
    assert str(Server("::1", 5)) == "[::1]:5"
    assert str(Server("/run/s", 0)) == "/run/s"
