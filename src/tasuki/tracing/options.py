"""What an app and a handler say about their spans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """See :class:`tasuki.kinds.entries.telemetry.TracesConfig`."""

    sample: float = 1.0
    attach: bool = False
    create: bool = False
    receive: bool = False
    baggage: bool = False
    body_size: bool = False
    process: Literal["child", "link"] = "child"


class Limit(NamedTuple):
    """How many seconds a handler may take, by which clock."""

    seconds: float
    monotonic: Callable[[], float]
