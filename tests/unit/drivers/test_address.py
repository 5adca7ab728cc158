from __future__ import annotations

import pytest

from tasuki.drivers.address import UNREADABLE, shown


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
def test_what_is_secret_is_left_out(url: str, text: str) -> None:
    assert shown(url) == text


@pytest.mark.parametrize("password", ["12/secret", "12?secret", "12#secret", "se@1/secret", "/secret", "1/2@secret"])
@pytest.mark.parametrize("scheme", ["postgresql", "redis", "amqp", "nats", "http"])
def test_a_password_that_was_not_quoted_is_not_shown(scheme: str, password: str) -> None:
    assert shown(f"{scheme}://user:{password}@host:1/x") == UNREADABLE
