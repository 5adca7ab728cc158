"""TraceOptions, and whether a span is worth a call of OpenTelemetry: most messages of a busy app are not recorded."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from tasuki.observe.trace import Headers


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """See :class:`tasuki.kinds.entries.telemetry.traces.TracesConfig`."""

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


NOT_RECORDED: Headers = MappingProxyType({"": ""})
"""As the trace that runs now: it begins with a message that is not recorded; its id is made when it is handed on."""


_NO_SPAN = f"{1:016x}"
"""In the place of the id of a span that is not recorded: it must not be zero."""

_LAST = 2**40 - 1

_END = f"-{_NO_SPAN}-00"

_count = itertools.count()

_begin = ""


def _reseed() -> None:
    """The ids of a process begin at random and are counted, and so are the ones of a forked child."""
    global _begin
    _begin = f"00-{int.from_bytes(os.urandom(11), 'big') | 1:022x}"


_reseed()

os.register_at_fork(after_in_child=_reseed)


def is_chosen(share: float) -> bool:
    """Toss a coin for a trace that begins here; ``share`` of them are recorded."""
    return share >= 1.0 or random.random() < share  # noqa: S311 - not for security


def unrecorded() -> str:
    """The ``traceparent`` of a new trace that is not recorded: a process that continues it need not decide again."""
    return f"{_begin}{next(_count) & _LAST:010x}{_END}"


def obeys_the_flag(description: str) -> bool:
    """Whether a sampler, by its description, records nothing of a trace whose parent is not recorded.

    OpenTelemetry's own default does. Another one is asked about each message: it may record what its parent did not.
    """
    return (
        description.startswith("ParentBased{")
        and "remoteParentNotSampled:AlwaysOffSampler" in description
        and "localParentNotSampled:AlwaysOffSampler" in description
    ) or description == "AlwaysOffSampler"
