"""Options of publishing and of requests, as mypy and pyright check them; Queue.publish says what each means."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

from tasuki.message import HeaderValue
from tasuki.units import Duration

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from tasuki.app.handle import QueueHandle

    Named = TypeVar("Named", default=Any)
    """The type that an argument names; Any where it names none, or a union."""

Headers = Mapping[str, HeaderValue] | None


class MessageOptions(TypedDict, total=False):
    """Options of one message."""

    delay: Duration
    ttl: Duration | None
    priority: int | None
    key: str | None
    id: str | None
    at: datetime | None


class BatchOptions(TypedDict, total=False):
    """Options of one call of publish_many."""

    timeout: Duration
    connection: object


class PublishOptions(MessageOptions, BatchOptions, total=False):
    """Options of publish."""


class RequestOptions(MessageOptions, total=False):
    """Options of request."""

    timeout: Duration
    reply_to: str | QueueHandle[Any] | None
