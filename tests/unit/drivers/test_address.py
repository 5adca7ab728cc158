from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tasuki.drivers.toolkit.address import UNREADABLE, parts_of, shown


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgresql://user:secret@host:5432/db?password=x@y", "postgresql://host:5432/db"),
        ("redis://:secret@[::1]:6379/0", "redis://[::1]:6379/0"),
        ("unix:///run/a@b.sock?db=1", "unix:///run/a@b.sock"),
        ("nats://host", "nats://host"),
        ("postgresql://user:se,cret@one:5432,two:5433/db?password=x", "postgresql://one:5432,two:5433/db"),
        ("postgresql://user:secret@[::1]:5432,two/db", "postgresql://[::1]:5432,two/db"),
        ("postgresql://user:secret@one:5432,two:99999/db", UNREADABLE),
        ("nats://host:port", UNREADABLE),
    ],
)
def test_secrets_are_left_out(url: str, text: str) -> None:
    assert shown(url) == text


@pytest.mark.parametrize("password", ["12/secret", "12?secret", "12#secret", "se@1/secret", "/secret", "1/2@secret"])
@pytest.mark.parametrize("scheme", ["postgresql", "redis", "amqp", "nats", "http"])
def test_a_password_that_was_not_quoted_is_not_shown(scheme: str, password: str) -> None:
    assert shown(f"{scheme}://user:{password}@host:1/x") == UNREADABLE


@pytest.mark.parametrize(
    "url",
    [
        "amqp://u:p%40ss@host:1/v?a=1#f",
        "redis://host",
        "unix:///run/x.sock?db=1",
        "host",
        "",
        "pg:///?host=/a/b",
        "a://",
    ],
)
def test_parts_are_those_of_urlsplit(url: str) -> None:
    assert parts_of(url) == urlsplit(url)


def test_parts_of_several_hosts() -> None:
    parts = parts_of("amqp://u:p@a:1,b,[::1]:3/v?x=1")
    assert (parts.netloc, parts.username, parts.path, parts.query) == ("u:p@a:1,b,[::1]:3", "u", "/v", "x=1")
