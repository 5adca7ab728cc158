"""Options of publishing and of requests, as mypy and pyright check them; Queue.publish says what each means."""

from __future__ import annotations

from typing import TypedDict

from tasuki.units import Duration


class RequestOptions(TypedDict, total=False):
    """Options of one message that has a reply."""

    delay: Duration
    ttl: Duration | None
    priority: int | None
    key: str | None
    id: str | None


class BatchOptions(TypedDict, total=False):
    """Options of one call of publish_many."""

    timeout: Duration
    connection: object


class PublishOptions(RequestOptions, BatchOptions, total=False):
    """Options of one message."""
