"""Options of requests and of publishing, as mypy and pyright check them; ``Queue.publish`` says what each means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasuki.contracts.context import BatchOptions, ChainOptions, MessageOptions, PublishOptions, UniqueOptions
from tasuki.message import HeaderValue
from tasuki.units import Duration

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from tasuki.app.handle import QueueHandle

    Named = TypeVar("Named", default=Any)
    """The type that an argument names; Any where it names none, or a union."""

__all__ = [
    "BatchOptions",
    "ChainOptions",
    "Headers",
    "MessageOptions",
    "PublishOptions",
    "RequestOptions",
    "UniqueOptions",
]

Headers = Mapping[str, HeaderValue] | None


class RequestOptions(MessageOptions, total=False):
    """Options of request."""

    reply_timeout: Duration
    reply_to: str | QueueHandle[Any] | None
