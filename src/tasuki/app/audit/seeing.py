"""Whose acts a viewer may see: the right ``queue.admin.audit`` on the entry that an act was done to; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.state.audit import AuditRecord

RIGHT = "audit"
ACTION = f"queue.admin.{RIGHT}"


def targets_of(project: Project) -> list[str]:
    """The ids of all entries that acts are done to."""
    return [id for kind in (QueueConfig, ConsumerConfig, ScheduleConfig) for id in project.of(kind)]


def seen(records: Iterable[AuditRecord], may: Callable[[str], bool]) -> tuple[Sequence[AuditRecord], int]:
    """The acts on entries that the viewer may audit, in the same order, and how many others there are."""
    asked, every = cache(may), list(records)
    shown = [record for record in every if asked(record.target)]
    return shown, len(every) - len(shown)
