"""Problems: what a program gets that is refused (application/problem+json, RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

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
