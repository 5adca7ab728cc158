"""What requests may carry: the types of queries and bodies. Unknown names are refused."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Limit = Annotated[int, Meta(ge=1, le=200, description="Items of one answer.")]
Cursor = Annotated[str, Meta(max_length=1000, description="`next` of the answer before.")]
Text = Annotated[str, Meta(max_length=500)]
Seconds = Annotated[str, Meta(max_length=40, description="A duration, as in `90`, `5s` or `10m`.")]


By = Literal["cause", "type", "place", "queue", "reason", "task", "day", "consumer"]
"""What dead letters are grouped by."""


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class PageQuery(Query, frozen=True):
    """Which part of a list."""

    limit: Limit = 50
    cursor: Cursor = ""


class QueuesQuery(PageQuery, frozen=True):
    """Which queues."""

    q: Annotated[str, Meta(max_length=200, description="A part of the id.")] = ""


class MessagesQuery(PageQuery, frozen=True):
    """Which messages of a queue."""

    state: Literal["waiting", "delayed", "retrying", "running"] = "waiting"


class MessageQuery(Query, frozen=True):
    """Where a message was seen."""

    place: Annotated[int, Meta(ge=0, le=1_000_000, description="Its `place` in the list: it is found sooner.")] = 0


class GroupsQuery(Query, frozen=True):
    """Which dead letters, and what they are counted by."""

    queue: Text = ""
    by: By = "cause"
    where: Annotated[str, Meta(max_length=2000, description="See `tasuki dead --where`.")] = ""


class LettersQuery(PageQuery, frozen=True):
    """Which letters of a dead-letter queue."""

    where: Annotated[str, Meta(max_length=2000, description="See `tasuki dead --where`.")] = ""
    by: By = "cause"
    group: Annotated[str, Meta(max_length=500, description="Only the group of this `key`.")] | None = None


class FindQuery(Query, frozen=True):
    """The question: an id, or one as on the page Find."""

    q: Annotated[str, Meta(min_length=1, max_length=500)]


class TopologyQuery(PageQuery, frozen=True):
    """Which queues."""

    q: Annotated[str, Meta(max_length=200, description="A part of an id of the line.")] = ""


class EventsQuery(Query, frozen=True):
    """How many events."""

    newest: Annotated[int, Meta(ge=1, le=1024, description="Events of each consumer.")] = 50


class AuditQuery(PageQuery, frozen=True):
    """Which acts."""

    q: Annotated[str, Meta(max_length=200, description="A part of actor, act, target or batch.")] = ""


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An empty object."""


class PauseOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"duration": "for"}):
    """How long, and why."""

    duration: Seconds = ""
    """After which the pause ends by itself; empty: when it is resumed."""
    reason: Text = ""


class PurgeOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bound: nothing is removed if the queue holds more."""

    at_most: Annotated[int, Meta(ge=0, le=10**15)] | None = None


class ScaleOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Messages that each process handles at the same time; null: as the entry says."""

    concurrency: Annotated[int, Meta(ge=0, le=1000)] | None


class MessageOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the message was seen."""

    place: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class DueOrder(MessageOrder, frozen=True, forbid_unknown_fields=True, rename={"delay": "in"}):
    """When a delayed message is due; empty: now. Not every driver can say another time than now."""

    delay: Seconds = ""


class EditOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of a dead letter changes; all that is not named stays as it is."""

    body: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    """The new body; its numbers keep their digits."""
    headers: dict[Annotated[str, Meta(max_length=200)], bool | int | float | str | None] = {}
    """Headers that change; null takes one away."""
    to: Text = ""
    """The id of the queue that gets it; empty: the queue where it failed."""
    keep: bool = False
    """Leave the letter in its queue too."""


class GroupOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One group of dead letters."""

    by: By
    key: Text


class BatchOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to do to which letters; without ``where``, ``ids`` and ``group`` to all that are there now."""

    act: Literal["retry", "move", "delete"]
    queue: Text
    """The id of the dead-letter queue."""
    where: Annotated[str, Meta(max_length=2000, description="See `tasuki dead --where`.")] = ""
    ids: Annotated[list[Annotated[str, Meta(min_length=1, max_length=500)]], Meta(max_length=1000)] = []
    group: GroupOrder | None = None
    to: Text = ""
    """The id of the queue that gets them; empty: the queue that each came from."""
    rate: Annotated[float, Meta(ge=0, le=1_000_000)] = 100.0
    """Letters a second; 0: as fast as possible."""
    canary: Annotated[int, Meta(ge=0, le=50)] | None = 10
    """Of a retry: stop if more than this number of the first 50 come back; null: never."""


class PublishOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message. Numbers of the body keep their digits in a queue whose codec is JSON."""

    body: msgspec.Raw
    headers: dict[Annotated[str, Meta(max_length=200)], bool | int | float | str] = {}
    delay: Seconds = ""
    ttl: Seconds = ""
    priority: Annotated[int, Meta(ge=0, le=9)] | None = None
    key: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    id: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    """Publishing again with it is safe after an unknown outcome."""
