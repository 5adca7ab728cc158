"""The parts of the MariaDB driver that need no server."""

from __future__ import annotations

from pathlib import Path

import aiomysql
import pytest
from pydantic import ValidationError

from tasuki.contracts.driver import Outgoing
from tasuki.drivers.toolkit.results import refusal
from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    QueueFullError,
    UnsupportedError,
)
from tasuki_mariadb.connecting import Connector, literal
from tasuki_mariadb.settings import KIND, MariaDbSettings
from tasuki_mariadb.store import MAX_BODY, columns
from tests.support.settings import parsed


def connector(url: str) -> Connector:
    return Connector("db", parsed(MariaDbSettings, url=url, tls={"enabled": False}))


@pytest.mark.parametrize(
    ("outgoing", "kind"),
    [
        (Outgoing("a", bytes(MAX_BODY + 1), {}), MessageTooLargeError),
        (Outgoing("\ud800", b"", {}), UnsupportedError),
        (Outgoing("a", b"", {}, 0.0, 0, "\ud800"), UnsupportedError),
        (Outgoing("a", b"", {"n": 2**80}), UnsupportedError),
    ],
    ids=["large", "id", "key", "header"],
)
def test_what_cannot_be_kept(outgoing: Outgoing, kind: type[DriverError]) -> None:
    assert type(refusal(outgoing, driver="db", queue="q", most=MAX_BODY, encode=columns)) is kind


def test_literals_need_no_escape() -> None:
    values = [None, True, 7, 1.5, "it's", b"\0'\\", [1, b"a"], 1e300]
    assert [literal(value) for value in values] == [
        "NULL", "True", "7", "1.5", "X'69742773'", "X'00275c'", "(1, X'61')", "1e+300",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (aiomysql.OperationalError(1045, "Access denied"), AccessDeniedError),
        (aiomysql.OperationalError(1213, "Deadlock found"), BrokerUnavailableError),
        (aiomysql.OperationalError(2013, "Lost connection"), BrokerUnavailableError),
        (aiomysql.InternalError("Packet sequence number wrong"), BrokerUnavailableError),
        (aiomysql.OperationalError(1114, "The table is full"), QueueFullError),
        (aiomysql.OperationalError(1153, "Got a packet bigger"), MessageTooLargeError),
        (aiomysql.ProgrammingError(1064, "You have an error"), DriverError),
        (ConnectionRefusedError(111, "refused"), BrokerUnavailableError),
        (TimeoutError(), BrokerTimeoutError),
        (KeyError("state"), DriverError),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, Exception) else "",
)
def test_errors_of_the_server(problem: Exception, kind: type[DriverError]) -> None:
    error = connector("mariadb://db/app").translate(problem, "q", "rejected")
    assert type(error) is kind
    assert (error.driver, error.queue, error.outcome) == ("db", "q", "rejected")
    assert "mariadb://db/app" in str(error)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mysql://db/app", "write mariadb://"),
        ("mariadb://db", "names no database"),
        ("mariadb://u:se/cret@db/app", "write mariadb://"),
    ],
)
def test_addresses_that_cannot_be_used(url: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem) as caught:
        parsed(MariaDbSettings, url=url)
    assert "se/cret" not in str(caught.value)


def test_a_server_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="remove server_name"):
        parsed(MariaDbSettings, url="mariadb://db/app", tls={"server_name": "other"})


def test_where_queues_are() -> None:
    assert KIND.place is not None
    one, two, three = (
        KIND.place(parsed(MariaDbSettings, url=url, prefix=prefix), Path())
        for url, prefix in (
            ("mariadb://a:b@localhost/app", "tasuki"),
            ("mariadb://c@127.0.0.1:3306/app", "tasuki"),
            ("mariadb://a:b@localhost/app", "other"),
        )
    )
    assert one == two
    assert one != three
