"""What requests may carry: names in paths, queries and bodies, for the API and for the tools of a language model.

Unknown names are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

NAMES: Mapping[str, str] = {
    "queue": "The id of a queue, such as `app:mails`; for dead letters the one of their dead-letter queue.",
    "id": "The id of the message.",
    "consumer": "The id of the consumer.",
    "schedule": "The id of the schedule.",
    "worker": "`host:pid` of the worker.",
    "batch": "The id of the batch.",
}
"""Names in paths, and their meaning."""

Limit = Annotated[int, Meta(ge=1, le=200, description="Items of one answer.")]
Cursor = Annotated[str, Meta(max_length=1000, description="`next` of the answer before.")]
Id = Annotated[str, Meta(min_length=1, max_length=500)]
Part = Annotated[str, Meta(max_length=200, description="Only ids with this text in them.")]
Reason = Annotated[str, Meta(max_length=500, description="Why; people read it at the desk.")]
Seconds = Annotated[str, Meta(max_length=40, description="A duration, as in `90`, `5s` or `10m`.")]
Place = Annotated[int, Meta(ge=0, le=1_000_000, description="Its `place` in a list: it is found sooner.")]
Dead = Annotated[str, Meta(max_length=500, description="The id of the dead-letter queue.")]
Where = Annotated[
    str,
    Meta(
        max_length=2000,
        description="Which letters: a condition over id, queue, reason, type, place, cause, error, task, consumer, "
        "age (seconds), attempts, redriven, headers.NAME, body.NAME, such as "
        "`type == 'ConnectionError' && age < 3600`; empty: all.",
    ),
]
By = Annotated[
    Literal["cause", "type", "place", "queue", "reason", "task", "day", "consumer"],
    Meta(
        description="What the letters of a group have in common: cause (reason, error type, place and text), type (of "
        "the error), place (file and function), queue (where it failed), reason, task, consumer, or day (UTC)."
    ),
]
Group = Annotated[str, Meta(max_length=500, description="Only the group with this `key`.")]
Ids = Annotated[list[Id], Meta(max_length=1000, description="Only these; `where` and `group` do not matter then.")]
To = Annotated[str, Meta(max_length=500, description="Another queue that gets them; empty: where each failed.")]
Rate = Annotated[float, Meta(ge=0, le=1_000_000, description="Letters a second; 0: as fast as possible.")]
Canary = Annotated[int, Meta(ge=0, le=50, description="Stop a retry if more of the first 50 fail again; null: never.")]
Header = Annotated[str, Meta(max_length=200)]


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class PageQuery(Query, frozen=True):
    """Which part of a list."""

    limit: Limit = 50
    cursor: Cursor = ""


class PartQuery(PageQuery, frozen=True):
    """Which items."""

    q: Part = ""


class MessagesQuery(PageQuery, frozen=True):
    """Which messages of a queue."""

    state: Annotated[
        Literal["waiting", "delayed", "retrying", "running"],
        Meta(
            description="waiting: ready, and dead letters in a dead-letter queue; delayed: published for later; "
            "retrying: failed, and due again later; running: its handler runs now."
        ),
    ] = "waiting"


class MessageQuery(Query, frozen=True):
    """Where a message was seen."""

    place: Place = 0


class GroupsQuery(Query, frozen=True):
    """Which dead letters, and what they are counted by."""

    queue: Annotated[str, Meta(max_length=500, description="A queue, or its dead-letter queue; empty: all.")] = ""
    by: By = "cause"
    where: Where = ""


class LettersQuery(PageQuery, frozen=True):
    """Which letters of a dead-letter queue."""

    where: Where = ""
    by: By = "cause"
    group: Group | None = None


class FindQuery(Query, frozen=True):
    """The question."""

    q: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=500,
            description="The id of a message, or a condition over id, queue, type, key, priority, attempts, error, "
            "age (seconds), headers.NAME, body.NAME, such as `body.order == 17 && age > 60`.",
        ),
    ]


class EventsQuery(Query, frozen=True):
    """How many events."""

    newest: Annotated[int, Meta(ge=1, le=1024, description="Events of each consumer.")] = 50


class AuditQuery(PageQuery, frozen=True):
    """Which acts."""

    q: Annotated[str, Meta(max_length=200, description="A part of actor, act, target, batch or options.")] = ""


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An empty object."""


class PauseOrder(Nothing, frozen=True, rename={"duration": "for"}):
    """How long, and why."""

    duration: Annotated[
        str, Meta(max_length=40, description="A duration, as in `90`, `5s` or `10m`; empty: until it is resumed.")
    ] = ""
    reason: Reason = ""


class PurgeOrder(Nothing, frozen=True):
    """A bound."""

    at_most: Annotated[int, Meta(ge=0, le=10**15, description="Remove nothing if the queue holds more.")] | None = None


class ScaleOrder(Nothing, frozen=True):
    """Messages that each process handles at the same time."""

    concurrency: Annotated[int, Meta(ge=0, le=1000, description="null: as the entry says.")] | None


class MessageOrder(Nothing, frozen=True):
    """Where the message was seen."""

    place: Place = 0


class DueOrder(MessageOrder, frozen=True, rename={"delay": "in"}):
    """When a delayed message is due; empty: now. Not every driver can say another time than now."""

    delay: Seconds = ""


class EditOrder(Nothing, frozen=True):
    """What of a dead letter changes; all that is not named stays as it is."""

    body: Annotated[msgspec.Raw, Meta(description="The new body; its numbers keep their digits.")] = msgspec.field(
        default_factory=msgspec.Raw
    )
    headers: Annotated[
        dict[Header, bool | int | float | str | None], Meta(description="Headers that change; null takes one away.")
    ] = {}
    to: Annotated[str, Meta(max_length=500, description="The queue that gets it; empty: where it failed.")] = ""
    keep: Annotated[bool, Meta(description="Leave the letter in its queue too.")] = False


class GroupOrder(Nothing, frozen=True):
    """One group of dead letters."""

    by: By
    key: Annotated[str, Meta(max_length=500)]


class BatchOrder(Nothing, frozen=True):
    """What to do to which letters; without ``where``, ``ids`` and ``group`` to all that are there now."""

    act: Literal["retry", "move", "delete"]
    queue: Dead
    where: Where = ""
    ids: Ids = []
    group: GroupOrder | None = None
    to: To = ""
    rate: Rate = 100.0
    canary: Canary | None = 10


class PublishOrder(Nothing, frozen=True):
    """One message. Numbers of the body keep their digits in a queue whose codec is JSON."""

    body: msgspec.Raw
    headers: dict[Header, bool | int | float | str] = {}
    delay: Seconds = ""
    ttl: Seconds = ""
    priority: Annotated[int, Meta(ge=0, le=9)] | None = None
    key: Id | None = None
    id: Annotated[str, Meta(min_length=1, max_length=500, description="Publishing again is safe with it.")] | None = (
        None
    )


def part_of(kind: type[msgspec.Struct], given: Any) -> Any:
    """A query or a body, of what a call has given together with other names."""
    return kind(**{name: getattr(given, name) for name in kind.__struct_fields__})
