"""TraceOptions: which spans an app has, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """See :class:`tasuki.kinds.entries.traces.TracesConfig`."""

    sample: float = 1.0
    attach: bool = False
    create: bool = False
    receive: bool = False
    baggage: bool = False
    body_size: bool = False
    process: Literal["child", "link"] = "child"
