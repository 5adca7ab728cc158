"""Exceptions of the client become driver errors, and say nothing secret."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientConnectorError, ClientOSError
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
    ReadTimeoutError,
)

from tasuki.drivers.sqs.clients import code_of, is_stale, translated
from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    QueueConflictError,
    ThrottledError,
    UnsupportedError,
)

_URL = "http://127.0.0.1:1"
_KEY: Any = type("Key", (), {"host": "h", "port": 1, "ssl": None, "is_ssl": False})()


def _answer(code: str, status: int = 400, message: str = "m") -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "SendMessageBatch")


@pytest.mark.parametrize(
    ("error", "expected", "outcome"),
    [
        (TimeoutError(), BrokerTimeoutError, "unknown"),
        (ReadTimeoutError(endpoint_url=_URL), BrokerTimeoutError, "unknown"),
        (ConnectTimeoutError(endpoint_url=_URL), BrokerUnavailableError, "rejected"),
        (
            EndpointConnectionError(endpoint_url=_URL, error=ClientConnectorError(_KEY, OSError())),
            BrokerUnavailableError,
            "rejected",
        ),
        (
            EndpointConnectionError(endpoint_url=_URL, error=ClientOSError(104, "reset")),
            BrokerUnavailableError,
            "unknown",
        ),
        (ConnectionClosedError(endpoint_url=_URL), BrokerUnavailableError, "unknown"),
        (RuntimeError("Session is closed"), BrokerUnavailableError, "unknown"),
        (NoCredentialsError(), AccessDeniedError, "rejected"),
        (ProfileNotFound(profile="p"), AccessDeniedError, "rejected"),
        (NoRegionError(), UnsupportedError, "rejected"),
        (_answer("RequestThrottled"), ThrottledError, "rejected"),
        (_answer("com.amazonaws.sqs#OverLimit", 403), ThrottledError, "rejected"),
        (_answer("QueueNameExists"), QueueConflictError, "rejected"),
        (_answer("QueueDeletedRecently"), BrokerUnavailableError, "rejected"),
        (_answer("Whatever", 500), BrokerUnavailableError, "unknown"),
        (_answer("Whatever", 400), DriverError, "rejected"),
    ],
)
def test_errors(error: Exception, expected: type[DriverError], outcome: str) -> None:
    found = translated(error, "app:sqs", "tasks")
    assert type(found) is expected
    assert (found.outcome, found.driver) == (outcome, "app:sqs")


def test_an_error_of_ours_stays_what_it_is() -> None:
    error = ThrottledError("slowly")
    assert translated(error, "app:sqs") is error


def test_the_signed_request_is_not_shown() -> None:
    error = translated(_answer("SignatureDoesNotMatch", 403, "you signed AKIA-canary"), "app:sqs")
    assert "canary" not in str(error)
    assert "SignatureDoesNotMatch" in str(error)


def test_long_texts_are_cut() -> None:
    assert len(str(translated(_answer("Whatever", 400, "x" * 5000), "app:sqs"))) < 500


def test_codes() -> None:
    assert code_of(_answer("AWS.SimpleQueueService.NonExistentQueue")) == "NonExistentQueue"
    assert code_of(ValueError()) == code_of(None) == ""
    assert is_stale("ReceiptHandleIsInvalid")
    assert not is_stale("InternalError")
