"""What the errors of the server and of its clients mean."""

from __future__ import annotations

import asyncpg
import pytest

from tasuki.drivers.postgres.connections import UnreplicatedError, translated
from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    QueueNotFoundError,
    StorageFullError,
)


class FromServer(Exception):
    """Has the attributes of asyncpg's errors."""

    severity_en = "ERROR"

    def __init__(self, sqlstate: str, text: str = "text") -> None:
        self.sqlstate = sqlstate
        self.message = text
        super().__init__(f"{text}\nDETAIL: data of a row")


class Wrapped(Exception):
    """As SQLAlchemy wraps the errors of psycopg."""

    def __init__(self, orig: Exception) -> None:
        self.orig = orig
        super().__init__("wrapped")


@pytest.mark.parametrize(
    ("state", "kind", "outcome"),
    [
        ("TQ404", QueueNotFoundError, "rejected"),
        ("42501", AccessDeniedError, "rejected"),
        ("28P01", AccessDeniedError, "rejected"),
        ("3D000", AccessDeniedError, "rejected"),
        ("42P01", BrokerUnavailableError, "rejected"),
        ("42883", BrokerUnavailableError, "rejected"),
        ("3F000", BrokerUnavailableError, "rejected"),
        ("53100", StorageFullError, "rejected"),
        ("53300", BrokerUnavailableError, "rejected"),
        ("54000", MessageTooLargeError, "rejected"),
        ("25006", BrokerUnavailableError, "rejected"),
        ("40001", BrokerUnavailableError, "rejected"),
        ("40P01", BrokerUnavailableError, "rejected"),
        ("55P03", BrokerUnavailableError, "rejected"),
        ("57014", BrokerUnavailableError, "rejected"),
        ("08006", BrokerUnavailableError, "unknown"),
        ("58030", BrokerUnavailableError, "rejected"),
        ("22021", DriverError, "rejected"),
        ("XX000", BrokerUnavailableError, "rejected"),
        ("XX001", DriverError, "rejected"),
    ],
)
def test_states_of_the_server(state: str, kind: type[DriverError], outcome: str) -> None:
    error = translated(FromServer(state), "there", "driver", "q", sent=True)
    assert type(error) is kind
    assert error.outcome == outcome
    assert (error.driver, error.queue) == ("driver", "q")
    assert "there" in str(error)
    assert "text" in str(error)
    assert "data of a row" not in str(error)
    assert translated(FromServer(state), "there", "driver", "q", sent=False).outcome == "rejected"
    assert type(translated(Wrapped(FromServer(state)), "there", "driver", "q", sent=True)) is kind


def test_errors_of_the_network() -> None:
    assert type(translated(OSError("x"), "", "", "", sent=False)) is BrokerUnavailableError
    assert translated(OSError("x"), "", "", "", sent=True).outcome == "unknown"
    assert type(translated(TimeoutError(), "", "", "", sent=True)) is BrokerTimeoutError
    assert type(translated(TimeoutError(), "", "", "", sent=False)) is BrokerUnavailableError
    interface = type("InterfaceError", (Exception,), {})
    assert type(translated(interface("closed"), "", "", "", sent=True)) is BrokerUnavailableError


@pytest.mark.parametrize("state", ["57P01", "57P02", "53300", "XX000"])
def test_an_error_that_ends_the_session_may_come_after_the_commit(state: str) -> None:
    problem = FromServer(state)
    problem.severity_en = "FATAL"
    assert translated(problem, "there", "driver", "q", sent=True).outcome == "unknown"
    assert translated(problem, "there", "driver", "q", sent=False).outcome == "rejected"


@pytest.mark.parametrize(
    "kind",
    [
        asyncpg.InternalClientError,
        asyncpg.ProtocolError,
        asyncpg.InterfaceError,
        asyncpg.UnsupportedServerFeatureError,
        asyncpg.ConnectionDoesNotExistError,
    ],
)
def test_what_the_client_says_of_its_connection_is_that_the_broker_is_away(kind: type[Exception]) -> None:
    error = translated(kind("got result for unknown protocol state 3"), "there", "driver", "q", sent=True)
    assert type(error) is BrokerUnavailableError
    assert error.outcome == "unknown"
    assert type(translated(kind("x"), "there", "driver", "q", sent=False)) is BrokerUnavailableError


def test_arguments_that_the_client_cannot_send_are_not_tried_again() -> None:
    assert type(translated(asyncpg.DataError("value out of range"), "there", "driver", "q", sent=True)) is DriverError


def test_a_commit_that_a_promotion_may_undo_is_unknown() -> None:
    error = translated(UnreplicatedError([]), "there", "driver", "q", sent=True)
    assert (type(error), error.outcome) == (BrokerTimeoutError, "unknown")


def test_our_own_errors_stay() -> None:
    error = QueueNotFoundError("x")
    assert translated(error, "", "", "", sent=True) is error


def test_an_unknown_problem_is_a_driver_error() -> None:
    error = translated(ZeroDivisionError("x"), "there", "", "", sent=True)
    assert type(error) is DriverError
    assert error.outcome == "unknown"
