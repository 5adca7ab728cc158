"""Audit the acts on an open app: keep a record of each in a store, warn where none can, and show who may see them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from tasuki.app.state.finding import states_there
from tasuki.errors import DriverError
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.observe.plain import cut, escape
from tasuki.observe.redact import redact
from tasuki.state import audit
from tasuki.state.audit import MOST, AuditRecord
from tasuki.state.shared import SharedState

if TYPE_CHECKING:
    from tasuki.app.host import ProjectHost


_log = logging.getLogger("tasuki.audit")


PATIENCE = 2.0
"""Seconds for one record: an act does not wait longer for its audit."""

_MOST_TEXT = 300


async def note(host: ProjectHost, queue: str, record: AuditRecord) -> bool:
    """Keep the record of an act in the store of its queue, or in another one of the project; whether it is kept.

    It never raises: an unavailable store must not stop an act. A warning in the log has the act instead.
    """
    if (state := _state(host, queue)) is None:
        return False
    try:
        async with asyncio.timeout(PATIENCE):
            await audit.write(await state.store(), record)
    except (DriverError, TimeoutError) as error:
        why = str(error) or f"no answer within {PATIENCE:.0f} s"
        facts = {"act": record.act, "target": record.target, "actor": record.actor, "result": record.result}
        level = logging.DEBUG if record.result.startswith("failed") else logging.WARNING  # its caller says why
        _log.log(level, "the audit lacks %s %s, by %s: %s", record.act, record.target, record.actor, why, extra=facts)
        return False
    return True


def _state(host: ProjectHost, queue: str) -> SharedState | None:
    own = host.state_of(queue) if queue in host.queues else None
    return own or next(iter(host.states_of_queues()), None)


@dataclass(slots=True)
class Outcome:
    """The facts that an act adds while it is carried out; see :class:`tasuki.state.audit.AuditRecord`."""

    target: str = ""
    filter: str = ""
    count: int | None = None
    result: str = "done"
    batch: str = ""
    options: str = ""
    is_kept: bool = True
    """False: nothing was done, as the question was answered with no."""


@asynccontextmanager
async def audited(
    host: ProjectHost, queue: str, act: str, target: str, *, actor: str, client: str
) -> AsyncIterator[Outcome]:
    """Keep the record of the act that the block is, also of one that fails. The block raises what it raises.

    Args:
        host: the open project.
        queue: the id of the queue whose store keeps it.
        act: its name.
        target: what it is done to.
        actor: who does it.
        client: from where.
    """
    outcome = Outcome(target)
    try:
        yield outcome
    except asyncio.CancelledError:
        outcome.result = "interrupted"
        raise
    except Exception as error:
        outcome.result = f"failed: {in_short(error)}"
        raise
    finally:
        if outcome.is_kept:
            meant, options = shown(outcome.filter), shown(outcome.options)
            record = AuditRecord(
                0.0, actor, client, act, outcome.target, meant, outcome.count, outcome.result, outcome.batch, options
            )
            await note(host, queue, record)


def shown(text: str) -> str:
    """A text of a record, on one line and without secrets."""
    return cut(escape(redact(text)), _MOST_TEXT)


def ids_text(ids: Sequence[str], most: int = 5) -> str:
    """Ids of messages as the filter of a record: the first ones, and how many more."""
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return " ".join(f"id:{id}" for id in ids[:most]) + more


def in_short(error: BaseException) -> str:
    """An error in one line, without secrets."""
    return cut(escape(redact(str(error)).partition("\n")[0]), _MOST_TEXT) or type(error).__name__


async def acts_of(host: ProjectHost) -> list[AuditRecord]:
    """The last acts on a project, the newest first, from all its stores. Raises DriverError."""
    found: list[AuditRecord] = []
    for state in await states_there(host):
        found += await audit.read(await state.store())
    return sorted(found, key=lambda record: record.time, reverse=True)[:MOST]


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
