"""The table of tools: what a client lists, and how a call is carried out."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tasuki.desk.api.answers import Answer
from tasuki.mcp import arguments
from tasuki.mcp.source import Source
from tasuki.mcp.tools import acting, project, reading


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool; its function gives it its name and text."""

    call: Callable[[Source, Any], Awaitable[Answer]]
    arguments: type[arguments.Arguments] = arguments.Arguments
    is_act: bool = False
    is_destructive: bool = False
    """Whether it ends or moves something that was there."""
    is_idempotent: bool = True
    """Whether a second call with the same arguments changes nothing more."""
    is_local: bool = False
    """It needs no broker, and runs beside the reading."""

    @property
    def name(self) -> str:
        """What a client calls."""
        return self.call.__name__

    @property
    def text(self) -> str:
        """What a model reads of it."""
        return inspect.cleandoc(self.call.__doc__ or "")


READING: Sequence[Tool] = (
    Tool(reading.overview),
    Tool(reading.list_queues, arguments.Queues),
    Tool(reading.queue, arguments.OneQueue),
    Tool(reading.list_messages, arguments.Messages),
    Tool(reading.find_messages, arguments.Question),
    Tool(reading.message, arguments.OneMessage),
    Tool(reading.explain, arguments.Explained),
    Tool(reading.dead_groups, arguments.Groups),
    Tool(reading.dead_letters, arguments.Letters),
    Tool(reading.batches, arguments.Batches),
    Tool(reading.workers, arguments.Page),
    Tool(reading.schedules, arguments.Page),
    Tool(reading.health),
    Tool(project.check_project, is_local=True),
    Tool(project.docs_search, arguments.Search, is_local=True),
)
ACTING: Sequence[Tool] = (
    Tool(acting.pause, arguments.Pause, is_act=True),
    Tool(acting.resume, arguments.Resume, is_act=True),
    Tool(acting.retry, arguments.Retry, is_act=True, is_destructive=True, is_idempotent=False),
    Tool(acting.cancel, arguments.OneMessage, is_act=True, is_destructive=True),
    Tool(acting.redrive, arguments.Redrive, is_act=True, is_destructive=True, is_idempotent=False),
    Tool(acting.run_schedule, arguments.OneSchedule, is_act=True, is_idempotent=False),
    Tool(acting.change_batch, arguments.Change, is_act=True, is_destructive=True, is_idempotent=False),
)
