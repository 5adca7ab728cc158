import inspect
import re

import pytest

from tasuki import errors
from tasuki.errors import (
    BrokerTimeoutError,
    BrokerUnavailableError,
    ConfigError,
    DriverError,
    DurabilityError,
    HandlerError,
    HeldBackError,
    KeyBusyError,
    LifecycleError,
    LuaLimitError,
    Position,
    ProjectError,
    QueueFullError,
    QueueNotFoundError,
    StopTimeoutError,
    StorageFullError,
    StoreFullError,
    TasukiError,
    ThrottledError,
    nature_of,
)

CLASSES = {
    name: value for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)
}


def test_everything_is_a_tasuki_error() -> None:
    assert all(issubclass(error, TasukiError) for error in CLASSES.values())


def test_the_drawn_tree_names_every_error_and_no_other() -> None:
    drawn = set(re.findall(r"\b\w+Error\b", (errors.__doc__ or "").split("``↻``")[0]))
    assert drawn == set(CLASSES)


def test_positions() -> None:
    assert str(Position("a.yaml", 3, 5)) == "a.yaml:3:5"
    assert str(Position("a.yaml", 3)) == "a.yaml:3"
    assert str(Position("a.yaml")) == "a.yaml"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConfigError("bad"), "bad"),
        (ConfigError("bad", entry="app:q"), "app:q: bad"),
        (ConfigError("bad", position=Position("a.yaml", 1, 2), entry="app:q"), "a.yaml:1:2: app:q: bad"),
        (ConfigError("bad", hint="did you mean 'good'?"), "bad; did you mean 'good'?"),
    ],
)
def test_config_errors(error: ConfigError, text: str) -> None:
    assert str(error) == text


def test_a_project_error_tells_all() -> None:
    error = ProjectError([ConfigError("one"), ConfigError("two")])
    assert str(error) == "one\ntwo"
    assert len(error.errors) == 2


def test_lifecycle_errors_know_the_service() -> None:
    assert StopTimeoutError("late", service="app:q").service == "app:q"
    assert LifecycleError("x").service == ""


def test_what_is_retryable() -> None:
    retryable = {error for error in CLASSES.values() if issubclass(error, DriverError) and error.retryable}
    broker = {BrokerUnavailableError, BrokerTimeoutError, ThrottledError}
    full = {QueueFullError, StorageFullError, StoreFullError}
    assert retryable == broker | full | {DurabilityError, HeldBackError, KeyBusyError}


def test_outcomes() -> None:
    assert QueueNotFoundError("x", driver="d", queue="q").outcome == "rejected"
    assert BrokerTimeoutError("x").outcome == "unknown"
    assert BrokerUnavailableError("x", outcome="unknown").outcome == "unknown"
    assert BrokerUnavailableError("y").outcome == "rejected"


def test_handler_errors_carry_kind_and_details() -> None:
    error = HandlerError("m", kind="NotFound", retryable=True, details={"a": 1}, traceback="t")
    assert (error.message, error.kind, error.retryable, error.details, error.traceback) == (
        *("m", "NotFound", True),
        *({"a": 1}, "t"),
    )
    assert HandlerError("m").retryable is None


def test_limit_errors_name_the_limit() -> None:
    error = LuaLimitError("too long", limit="time")
    assert (error.limit, error.kind, error.retryable) == ("time", "Internal", False)


def test_whether_a_failed_write_may_succeed_later() -> None:
    assert nature_of(BrokerTimeoutError("")) == nature_of(QueueFullError("")) == "healing"
    assert nature_of(QueueNotFoundError("")) == nature_of(HandlerError("")) == "final"
    assert nature_of(KeyError()) == nature_of(DriverError("", outcome="unknown")) == "unknown"
