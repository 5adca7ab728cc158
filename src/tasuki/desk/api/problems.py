"""Problems: which error is which answer (application/problem+json)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

from tasuki.dead.editing.problems import EditError
from tasuki.desk.site import AwayError, problem_of
from tasuki.errors import (
    BrokerTimeoutError,
    BrokerUnavailableError,
    PolicyDeniedError,
    PublishError,
    QueueNotFoundError,
    TasukiError,
    UnsupportedError,
)

TYPE = "application/problem+json"

CODES: Mapping[int, str] = {
    400: "invalid",
    401: "unauthorized",
    403: "denied",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    409: "conflict",
    413: "too_large",
    415: "unsupported_type",
    421: "wrong_host",
    422: "key_reused",
    429: "too_many",
    500: "internal",
    503: "away",
}
"""Status → the code for programs, where there is no narrower one."""


def problem(
    status: int, detail: str, code: str = "", headers: Mapping[str, str] | None = None, **more: object
) -> Response:
    """The answer for a status; ``more``: fields of its own."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code or CODES[status],
        **more,
    }
    return Response(json.dumps(body), status, dict(headers or {}), TYPE)


class ProblemError(Exception):
    """A request that is not answered otherwise."""

    def __init__(self, status: int, detail: str, code: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.headers = status, code, headers


def problem_for(error: Exception) -> Response | None:
    """The answer for an error of reading or of an act; None: it is a mistake of ours."""
    if isinstance(error, ProblemError):
        return problem(error.status, str(error), error.code, error.headers)
    if isinstance(error, EditError):
        return problem(400, problem_of(error), "not_valid", problems=[each._asdict() for each in error.problems])
    for kinds, status, code in _STATUS:
        if isinstance(error, kinds):
            return problem(status, problem_of(error), code)
    return None


_STATUS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], int, str], ...] = (
    (PolicyDeniedError, 403, ""),
    (AwayError, 503, ""),
    ((BrokerUnavailableError, BrokerTimeoutError), 503, ""),
    (QueueNotFoundError, 409, "missing"),
    (UnsupportedError, 409, "unsupported"),
    (PublishError, 400, "not_valid"),
    (TasukiError, 409, "failed"),
    (ValueError, 400, ""),
)
