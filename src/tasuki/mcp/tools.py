"""The table of tools: operations of the API under the names that a client calls, and tools that no page has."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, field

from tasuki.desk.api import answers, asked, letter_answers
from tasuki.desk.api.asked import NAMES
from tasuki.desk.api.call import ApiCall
from tasuki.desk.api.operations import messages
from tasuki.desk.api.operations.reading import overview
from tasuki.desk.api.operations.table import OPERATIONS, Operation
from tasuki.desk.api.problems import ProblemError
from tasuki.desk.dead.rows import of_group, rows_of
from tasuki.desk.dead.windows import Item, Window
from tasuki.desk.reading.attention import is_failed, notices_of
from tasuki.desk.reading.bodies import cut_plainly
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.errors import TasukiError
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.mcp.marking import own
from tasuki.mcp.source import ToolSource
from tasuki.observe.plain import escape

A = TypeVar("A", bound="Arguments")


MOST_BYTES = 64 * 1024
"""Of the arguments of one call, as JSON."""


_FEW = 20
"""Items of one answer, unless a model asks for more."""


_PLACE = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)


_NAMED = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)
"""How msgspec says where a value is wrong, and which name is."""


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


def arguments_of(operation: Operation, *, without: str = "", **more: Any) -> type[Arguments]:
    """The arguments of an operation: the names in its path, its query and its body, and ``more`` of these types.

    ``without``: a name that is not among them.
    """
    fields: list[Any] = [*more.items()]
    fields += [(name, name_type(NAMES[name])) for name in operation.names if name != without]
    short = {}
    for part in filter(None, (operation.query, operation.body)):
        for each in msgspec.structs.fields(part):
            short[each.name] = each.encode_name
            default = _FEW if each.name == "limit" else each.default
            fields.append((each.name, each.type) if each.required else (each.name, each.type, default))
    made: type[Arguments] = msgspec.defstruct(  # type: ignore[assignment]
        operation.name, fields, bases=(Arguments,), kw_only=True, frozen=True, rename=short
    )
    return made


def name_type(description: str) -> Any:
    """The type of a name in a path."""
    return Annotated[str, Meta(min_length=1, max_length=500, description=description)]


def schema_of(arguments: type[Arguments]) -> dict[str, Any]:
    """The JSON Schema of arguments, in one piece."""
    (root,), parts = msgspec.json.schema_components([arguments], ref_template="#/$defs/{name}")
    whole = dict(parts[root["$ref"].rpartition("/")[2]])
    for word in ("title", "description"):
        whole.pop(word, None)
    return {**whole, "type": "object"}


def read(given: Mapping[str, Any] | None, arguments: type[A]) -> A:
    """What a client gives as arguments. Raises ValueError, which names the argument."""
    try:
        size = len(msgspec.json.encode(given or {}))
    except (ValueError, TypeError, RecursionError, UnicodeEncodeError):
        raise ValueError("the arguments are no JSON, or are nested too deeply") from None
    if size > MOST_BYTES:
        longest = max(given or {}, key=lambda name: len(str((given or {})[name])))
        raise ValueError(
            f"the arguments have {size} bytes, and may have {MOST_BYTES}; the longest is {_shown(str(longest))}"
        )
    try:
        return msgspec.convert(given or {}, arguments)
    except msgspec.ValidationError as error:
        raise ValueError(_told(str(error), arguments)) from None


def _told(text: str, arguments: type[Arguments]) -> str:
    found = _PLACE.fullmatch(text)
    problem, place = (found[1], found[2]) if found else (text, "")
    if known := _NAMED.fullmatch(problem):
        names = ", ".join(field.encode_name for field in msgspec.structs.fields(arguments)) or "none"
        what = "is missing" if known[1] == "missing required" else "is not known"
        return f"argument {_shown('.'.join(filter(None, (place, known[2]))))} {what}; the arguments are: {names}"
    if problem.startswith("Invalid enum value") and (values := _values_of(arguments, place)):
        problem += f"; it is one of {', '.join(values)}"
    return f"argument {_shown(place)}: {_shown(problem)}"


def _values_of(arguments: type[Arguments], name: str) -> list[str]:
    field = schema_of(arguments)["properties"].get(name, {})
    return [str(each) for each in field.get("enum", ())]


def _shown(text: str) -> str:
    return cut_plainly(escape(text), 200)


_GROUPS = 10


class Redrive(Arguments, frozen=True, kw_only=True):
    """Which dead letters, where to and how fast."""

    queue: asked.Dead
    dry: Annotated[bool, Meta(description="true: only say which letters are meant; false: begin the batch.")] = True
    where: asked.Where = ""
    ids: asked.Ids = field(default_factory=list)
    by: asked.By = "cause"
    group: asked.Group | None = None
    to: asked.To = ""
    rate: asked.Rate = 100.0
    canary: asked.Canary | None = 10


class Meant(answers.ApiAnswer, frozen=True):
    """What a redrive would do. Nothing was changed."""

    dry: bool
    queue: str
    to: str
    count: int
    is_all: bool
    """False: the queue has more letters than were read."""
    groups: list[letter_answers.GroupItem]
    missing: list[str]
    """The given ids that are not among the letters."""
    next_step: str


own(Meant, "queue to next_step")


async def redrive(source: ToolSource, given: Redrive) -> answers.Done | Meant:
    """Send many dead letters back where they failed. With dry, the default, only count them.

    Call it dry first, show the user the count and the groups, and call it with dry=false once they agree. That
    begins a batch, which goes on without this call: see `batch`; `change_batch` pauses or undoes it.
    """
    if given.dry:
        return await _meant(source, given)
    group = None if given.group is None else asked.GroupOrder(given.by, given.group)
    order = asked.BatchOrder(
        "retry", given.queue, given.where, given.ids, group, given.to, given.rate, given.canary
    )  # fmt: skip
    return await messages.begin_batch(ApiCall(source, source.session, {}, asked.Query(), order))


async def _meant(source: ToolSource, given: Redrive) -> Meant:
    query = asked.LettersQuery(1, "", given.where)
    call = ApiCall(source, source.session, {"queue": given.queue}, query, asked.Nothing())
    _, row = await call.row()
    if not row.is_dead_letters:
        raise ProblemError(409, f"{row.id} is no dead-letter queue of this project; {row.id} has {row.dead_letters!r}")
    call.require("redrive", row.id)
    if given.to:
        if given.to not in call.site.live.queues:
            raise ProblemError(404, f"there is no queue {given.to!r}")
        call.require("redrive", given.to)
    await messages.letters(call)  # it knows which drivers show no letters, and asks for the right to look
    group = None if given.ids else given.group
    window = await source.library.window(row.id, "" if given.ids else given.where, given.by, group)
    items = of_group(window, given.by, group)
    found: dict[str, Item] = {}
    if given.ids:
        found = _named(window.items, given.ids)
        items = [*{item.at: item for item in found.values()}.values()]
    snapshot = await call.snapshot()
    some = window if window.cause else Window(window.queue, items, len(items), len(items))
    return Meant(
        dry=True,
        queue=row.id,
        to=given.to or "the queue where each failed",
        count=some.count,
        is_all=window.is_all or bool(window.cause),
        missing=sorted(set(given.ids) - found.keys()),
        groups=[messages.group_of(each) for each in rows_of([some], given.by, snapshot.now)[:_GROUPS]],
        next_step="nothing was changed; the same call with dry=false begins the batch",
    )


def _named(items: Iterable[Item], names: Iterable[str]) -> dict[str, Item]:
    """The letters that are meant by these names or ids; an id means the oldest letter that has it."""
    meant: dict[str, Item] = {}
    for item in sorted(items, key=lambda item: item.number):
        meant.setdefault(item.letter.id, item)
        meant.setdefault(item.name, item)
    return {name: meant[name] for name in names if name in meant}


_PATIENCE = 60.0
"""Seconds in which a project is checked: its modules are imported."""

_MOST_TEXT = 2000


class DocsQuery(Arguments, frozen=True):
    """What to look for."""

    q: Annotated[str, Meta(min_length=1, max_length=200, description="Words.")]
    limit: Annotated[int, Meta(ge=1, le=20, description="Passages.")] = 6


class ProjectFinding(answers.ApiAnswer, frozen=True):
    """A mistake in a project, or a warning. An unknown part of the place is null."""

    severity: str
    message: str
    file: str | None = None
    line: int | None = None
    entry: str | None = None
    hint: str | None = None


class Checked(answers.ApiAnswer, frozen=True):
    """The findings about the project's files as they are now."""

    is_good: bool
    findings: list[ProjectFinding]


class DocsHit(answers.ApiAnswer, frozen=True):
    """One passage of the documentation."""

    title: str
    text: str


class DocsFound(answers.ApiAnswer, frozen=True):
    """The passages that fit best."""

    items: list[DocsHit]
    searched: str


own(ProjectFinding, "severity message file entry hint")

own(DocsHit, "title text")

own(DocsFound, "searched")


async def check_project(source: ToolSource, _: Arguments) -> Checked:
    """Check the project's files as they are now, in its own process: all mistakes and warnings, with their places.

    The other tools show the project as it was when this server started.
    """
    process = await asyncio.create_subprocess_exec(
        *source.check,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            output, errors = await process.communicate()
    except TimeoutError:
        raise TasukiError(f"the check did not end within {_PATIENCE:.0f} s: a module of the project hangs") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
    return Checked(process.returncode == 0, _findings(output, errors))


def _findings(output: bytes, errors: bytes) -> list[ProjectFinding]:
    """The findings in what ``tasuki check --json`` has printed, after what the project's modules may have printed."""
    text = output.decode("utf-8", "replace")
    for at in [0, *(at + 1 for at, character in enumerate(text) if character == "\n")]:
        if text[at : at + 1] == "[":
            with suppress(ValueError):
                return [_finding(each) for each in json.loads(text[at:])]
    raise TasukiError(f"the check failed: {errors.decode('utf-8', 'replace').strip()[-500:] or 'no output'}")


def _finding(of: dict[str, Any]) -> ProjectFinding:
    names = ("message", "file", "line", "entry", "hint")
    return ProjectFinding(of.get("severity", "error"), **{name: of[name] for name in names})


async def docs_search(source: ToolSource, given: DocsQuery) -> DocsFound:
    """Search Tasuki's reference: commands and their options, entry kinds and their fields, the Python API."""
    found = await asyncio.to_thread(source.passages.find, given.q, given.limit)
    items = [DocsHit(each.title, each.text[:_MOST_TEXT]) for each in found]
    return DocsFound(items, "help of commands, fields of entry kinds, docstrings of the Python API; not the guides")


_OPERATIONS = {operation.name: operation for operation in OPERATIONS}


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool; ``text`` is what a model reads of it."""

    name: str
    text: str
    call: Callable[[ToolSource, Any], Awaitable[Any]]
    arguments: type[Arguments] = Arguments
    is_act: bool = False
    is_destructive: bool = False
    """Whether it ends or moves something that was there."""
    is_idempotent: bool = True
    """Whether a second call with the same arguments changes nothing more."""
    is_local: bool = False
    """It needs no broker, and runs beside the reading."""


class Broker(answers.ApiAnswer, frozen=True):
    """One driver entry."""

    driver: str
    kind: str
    queues: int
    unread: list[str]
    """Queues that could not be read."""
    problem: str


class InstallationHealth(answers.ApiAnswer, frozen=True):
    """Whether messages move, in the whole installation."""

    status: Literal["ok", "warning", "failed"]
    brokers: list[Broker]
    workers: int | None
    notices: list[answers.NoticeItem]
    problems: list[str]


own(Broker, "driver kind unread problem")


own(InstallationHealth, "status problems")


async def health(source: ToolSource, given: Arguments) -> InstallationHealth:
    """Which brokers and queues can be reached, how many workers are alive, and all problems."""
    snapshot = await source.sampler.latest(now=True)
    notices = (await overview(source.call(_OPERATIONS["overview"], given))).notices
    problems = list(snapshot.problems)
    return InstallationHealth(
        status="failed" if problems or is_failed(notices_of(snapshot)) else "warning" if notices else "ok",
        brokers=_brokers(source, snapshot),
        workers=snapshot.totals.workers,
        notices=notices,
        problems=problems,
    )


def _brokers(source: ToolSource, snapshot: Snapshot) -> list[Broker]:
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

    async def call(source: ToolSource, given: Any) -> Any:
        return await found.call(source.call(found, given))

    return Tool(name, found.text, call, arguments_of(found), is_act=found.method != "GET", **hints)


def _choice(name: str, text: str, word: str, about: str, options: Mapping[str, str], id: str, **hints: bool) -> Tool:
    """The tool of several operations: ``word`` chooses one, and ``id`` is the name in its path."""
    known: Any = Literal.__getitem__(tuple(options))
    first = _OPERATIONS[next(iter(options.values()))]
    more = {word: Annotated[known, Meta(description=about)], "id": name_type(id)}
    arguments = arguments_of(first, without=first.names[0], **more)

    async def call(source: ToolSource, given: Any) -> Any:
        chosen = _OPERATIONS[options[getattr(given, word)]]
        return await chosen.call(source.call(chosen, given, chosen.names[0]))

    return Tool(name, text, call, arguments, is_act=True, **hints)


def _own(call: Callable[[ToolSource, Any], Awaitable[Any]], arguments: type[Arguments], **facts: bool) -> Tool:
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
    _own(docs_search, DocsQuery, is_local=True),
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
