"""The table of tools: operations of the API under the names that a client calls, and tools that no page has."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from tasuki.desk.api import answers
from tasuki.desk.api.operations.reading import overview
from tasuki.desk.api.operations.table import OPERATIONS
from tasuki.desk.reading.attention import is_failed, notices_of
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.mcp.arguments import Arguments, arguments_of, name_type
from tasuki.mcp.marking import own
from tasuki.mcp.project import Search, check_project, docs_search
from tasuki.mcp.redriving import Redrive, redrive
from tasuki.mcp.source import Source

_OPERATIONS = {operation.name: operation for operation in OPERATIONS}


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool; ``text`` is what a model reads of it."""

    name: str
    text: str
    call: Callable[[Source, Any], Awaitable[Any]]
    arguments: type[Arguments] = Arguments
    is_act: bool = False
    is_destructive: bool = False
    """Whether it ends or moves something that was there."""
    is_idempotent: bool = True
    """Whether a second call with the same arguments changes nothing more."""
    is_local: bool = False
    """It needs no broker, and runs beside the reading."""


class Broker(answers.Answer, frozen=True):
    """One driver entry."""

    driver: str
    kind: str
    queues: int
    unread: list[str]
    """Queues that could not be read."""
    problem: str


class Health(answers.Answer, frozen=True):
    """Whether messages move, in the whole installation."""

    status: Literal["ok", "warning", "failed"]
    brokers: list[Broker]
    workers: int | None
    notices: list[answers.Notice]
    problems: list[str]


own(Broker, "driver kind unread problem")
own(Health, "status problems")


async def health(source: Source, given: Arguments) -> Health:
    """Which brokers and queues can be reached, how many workers are alive, and all problems."""
    snapshot = await source.sampler.latest(now=True)
    notices = (await overview(source.call(_OPERATIONS["overview"], given))).notices
    problems = list(snapshot.problems)
    return Health(
        status="failed" if problems or is_failed(notices_of(snapshot)) else "warning" if notices else "ok",
        brokers=_brokers(source, snapshot),
        workers=snapshot.totals.workers,
        notices=notices,
        problems=problems,
    )


def _brokers(source: Source, snapshot: Snapshot) -> list[Broker]:
    project = source.site.project
    configs = project.of(QueueConfig)
    found = []
    for driver in sorted({config.driver for config in configs.values()}):
        rows = [row for row in snapshot.queues.values() if configs[row.id].driver == driver]
        bad = [row for row in rows if row.problem]
        kind = project.kinds[driver].name
        found.append(Broker(driver, kind, len(rows), [row.id for row in bad], bad[0].problem if bad else ""))
    return found


def _of(name: str, operation: str = "", **hints: bool) -> Tool:
    """The tool of an operation, which may have another name."""
    found = _OPERATIONS[operation or name]

    async def call(source: Source, given: Any) -> Any:
        return await found.call(source.call(found, given))

    return Tool(name, found.text, call, arguments_of(found), is_act=found.method != "GET", **hints)


def _choice(name: str, text: str, word: str, about: str, options: Mapping[str, str], id: str, **hints: bool) -> Tool:
    """The tool of several operations: ``word`` chooses one, and ``id`` is the name in its path."""
    known: Any = Literal.__getitem__(tuple(options))
    first = _OPERATIONS[next(iter(options.values()))]
    more = {word: Annotated[known, Meta(description=about)], "id": name_type(id)}
    arguments = arguments_of(first, without=first.names[0], **more)

    async def call(source: Source, given: Any) -> Any:
        chosen = _OPERATIONS[options[getattr(given, word)]]
        return await chosen.call(source.call(chosen, given, chosen.names[0]))

    return Tool(name, text, call, arguments, is_act=True, **hints)


def _own(call: Callable[[Source, Any], Awaitable[Any]], arguments: type[Arguments], **facts: bool) -> Tool:
    return Tool(call.__name__, inspect.cleandoc(call.__doc__ or ""), call, arguments, **facts)


_KINDS = ("queue", "consumer", "schedule")
_KIND = "What the id is the id of."

READING: Sequence[Tool] = (
    _of("overview"),
    _of("list_queues", "queues"),
    _of("queue"),
    _of("list_messages", "messages"),
    _of("find_messages", "find"),
    _of("message"),
    _of("explain"),
    _of("dead_groups", "groups"),
    _of("dead_letters", "letters"),
    _of("batches"),
    _of("batch"),
    _of("workers"),
    _of("schedules"),
    _own(health, Arguments),
    _own(check_project, Arguments, is_local=True),
    _own(docs_search, Search, is_local=True),
)
ACTING: Sequence[Tool] = (
    _choice(
        "pause",
        "Pause a queue, a consumer or a schedule for all workers. Running handlers end; nothing is lost.",
        "kind",
        _KIND,
        {kind: f"pause_{kind}" for kind in _KINDS},
        "The id of the entry.",
    ),
    _choice(
        "resume", "End a pause.", "kind", _KIND, {kind: f"resume_{kind}" for kind in _KINDS}, "The id of the entry."
    ),
    _of("retry", is_destructive=True, is_idempotent=False),
    _of("cancel", is_destructive=True),
    _own(redrive, Redrive, is_act=True, is_destructive=True, is_idempotent=False),
    _of("run_schedule", is_idempotent=False),
    _choice(
        "change_batch",
        "Pause, resume, cancel or undo a batch; undo brings letters back that still wait where it put them.",
        "verb",
        "resume: go on, also after its canary; cancel: end it; undo: bring letters back.",
        {verb: f"{verb}_batch" for verb in ("pause", "resume", "cancel", "undo")},
        "The id of the batch.",
        is_destructive=True,
        is_idempotent=False,
    ),
)
