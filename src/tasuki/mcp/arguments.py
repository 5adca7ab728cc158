"""Arguments: what each tool takes. Its JSON Schema is made from them, and calls are checked by them; no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from tasuki.desk.api.asked import By
from tasuki.desk.reading.bodies import cut_plainly
from tasuki.observe.plain import escape

A = TypeVar("A", bound="Arguments")

MOST_BYTES = 64 * 1024
"""Of the arguments of one call, as JSON."""
_PLACE = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_NAMED = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)
"""How msgspec says where a value is wrong, and which name is."""

Queue = Annotated[str, Meta(min_length=1, max_length=500, description="The id of a queue, as list_queues has it.")]
Dead = Annotated[str, Meta(min_length=1, max_length=500, description="The id of the dead-letter queue.")]
Id = Annotated[str, Meta(min_length=1, max_length=500, description="The id of the message.")]
Limit = Annotated[int, Meta(ge=1, le=200, description="Items of one answer.")]
Cursor = Annotated[str, Meta(max_length=1000, description="`next` of the answer before.")]
Where = Annotated[
    str,
    Meta(
        max_length=2000,
        description="Which letters: a condition over id, queue, reason, type, place, cause, error, task, consumer, "
        "age (seconds), attempts, redriven, headers.NAME, body.NAME, such as "
        "`type == 'ConnectionError' && age < 3600`; empty: all.",
    ),
]
Part = Annotated[str, Meta(max_length=200, description="Only ids with this text in them.")]
Seconds = Annotated[str, Meta(max_length=40, description="A duration, as `90`, `5s` or `10m`; empty: until resumed.")]
Reason = Annotated[str, Meta(max_length=500, description="Why; people read it at the desk.")]
Place = Annotated[int, Meta(ge=0, le=1_000_000, description="Its `place` in a list: it is found sooner.")]
Entry = Annotated[str, Meta(min_length=1, max_length=500, description="The id of the entry.")]
Kind = Annotated[Literal["queue", "consumer", "schedule"], Meta(description="What the id is the id of.")]
Grouping = Annotated[
    By,
    Meta(
        description="What the letters of a group have in common: cause (reason, error type, place and text), type (of "
        "the error), place (file and function), queue (where it failed), reason, task, consumer, or day (UTC)."
    ),
]


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class Page(Arguments, frozen=True):
    """Which part of a list."""

    limit: Limit = 20
    cursor: Cursor = ""


class Queues(Page, frozen=True):
    """Which queues."""

    q: Part = ""


class OneQueue(Arguments, frozen=True):
    """Which queue."""

    queue: Queue


class Messages(Page, frozen=True, kw_only=True):
    """Which messages of a queue."""

    queue: Queue
    state: Annotated[
        Literal["waiting", "delayed", "retrying", "running"],
        Meta(
            description="waiting: ready, and dead letters in a dead-letter queue; delayed: published for later; "
            "retrying: failed, and due again later; running: its handler runs now."
        ),
    ] = "waiting"


class Question(Arguments, frozen=True):
    """What to find."""

    q: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=500,
            description="The id of a message, or a condition over id, queue, type, key, priority, attempts, error, "
            "age (seconds), headers.NAME, body.NAME, such as `body.order == 17 && age > 60`.",
        ),
    ]


class OneMessage(Arguments, frozen=True):
    """Which message."""

    queue: Queue
    id: Id
    place: Place = 0


class Explained(Arguments, frozen=True):
    """Which message."""

    queue: Queue
    id: Id


class Groups(Arguments, frozen=True):
    """Which dead letters, and what they are grouped by."""

    queue: Annotated[str, Meta(max_length=500, description="A queue, or its dead-letter queue; empty: all.")] = ""
    by: Grouping = "cause"
    where: Where = ""


class Letters(Page, frozen=True, kw_only=True):
    """Which letters."""

    queue: Annotated[str, Meta(min_length=1, max_length=500, description="A queue, or its dead-letter queue.")]
    where: Where = ""
    by: Grouping = "cause"
    group: Annotated[str, Meta(max_length=500, description="Only the group of dead_groups with this `key`.")] | None = (
        None
    )


class Batches(Arguments, frozen=True):
    """Which batch."""

    id: Annotated[str, Meta(max_length=500, description="One batch; empty: the last ten.")] = ""


class Search(Arguments, frozen=True):
    """What to look for."""

    q: Annotated[str, Meta(min_length=1, max_length=200, description="Words.")]
    limit: Annotated[int, Meta(ge=1, le=20, description="Passages.")] = 6


class Pause(Arguments, frozen=True, rename={"duration": "for"}):
    """What to pause."""

    kind: Kind
    id: Entry
    duration: Seconds = ""
    reason: Reason = ""


class Resume(Arguments, frozen=True):
    """What to resume."""

    kind: Kind
    id: Entry


class Retry(Arguments, frozen=True):
    """Which dead letter."""

    queue: Dead
    id: Id
    place: Place = 0


class Redrive(Arguments, frozen=True, kw_only=True):
    """Which dead letters, where to and how fast."""

    queue: Dead
    dry: Annotated[bool, Meta(description="true: only say which letters are meant; false: begin the batch.")] = True
    where: Where = ""
    ids: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=500)]],
        Meta(max_length=1000, description="Only these letters; `where` and `group` do not matter then."),
    ] = []
    by: Grouping = "cause"
    group: Annotated[str, Meta(max_length=500, description="Only the group of dead_groups with this `key`.")] | None = (
        None
    )
    to: Annotated[str, Meta(max_length=500, description="Another queue that gets them; empty: where each failed.")] = ""
    rate: Annotated[float, Meta(ge=0, le=1_000_000, description="Letters a second; 0: as fast as possible.")] = 100.0
    canary: (
        Annotated[int, Meta(ge=0, le=50, description="Stop if more of the first 50 fail again; null: never.")] | None
    ) = 10


class OneSchedule(Arguments, frozen=True):
    """Which schedule."""

    schedule: Annotated[str, Meta(min_length=1, max_length=500, description="The id of the schedule.")]


class Change(Arguments, frozen=True):
    """Which batch, and what becomes of it."""

    id: Annotated[str, Meta(min_length=1, max_length=500, description="The id of the batch.")]
    verb: Annotated[
        Literal["pause", "resume", "cancel", "undo"],
        Meta(description="resume: go on, also after its canary; cancel: end it; undo: bring letters back."),
    ]


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
