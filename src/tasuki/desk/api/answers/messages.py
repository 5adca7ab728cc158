"""What the API answers about messages. Times are of the stores; null: not known."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from tasuki.app.explain.rule import Cause
from tasuki.contracts.state.jobs import JobStatus, Progress
from tasuki.desk.api.answers.common import Answer
from tasuki.desk.api.answers.queues import Running
from tasuki.moments import Moment


class MessageItem(Answer, frozen=True):
    """One message of a list."""

    id: str
    queue: str
    state: Literal["waiting", "delayed", "retrying", "running", "dead"]
    place: int | None
    published: Moment | None
    attempts: str
    priority: str
    key: str
    type: str
    error: str
    reason: str
    died: Moment | None
    body: str
    """Its beginning, on one line; values of telling names are masked."""


class Messages(Answer, frozen=True):
    """Some messages of a queue, in its order."""

    items: list[MessageItem]
    next: str | None
    is_bounded: bool
    """Whether only the first messages were looked through."""


class Body(Answer, frozen=True):
    """A body; values of telling names are masked, and control characters are escaped."""

    kind: str
    """json, text or bytes."""
    size: int
    text: str
    is_cut: bool
    value: msgspec.Raw | None
    """The same as JSON, with all digits of its numbers; null: it is none, or too long."""


class Message(Answer, frozen=True):
    """One message, in any state."""

    id: str
    queue: str
    state: str
    status: str
    """Of its job, where the queue keeps one."""
    place: int | None
    item: MessageItem | None
    body: Body | None
    headers: dict[str, str]
    error: str
    traceback: str
    stack: str
    """Of a running one: where its handler is, as its worker tells; empty: it does not."""
    is_cancel_requested: bool
    """Whether it runs, and its cancellation was ordered."""
    cancel_requested: Moment | None
    """When; null: it was not, or the time is unknown."""
    progress: Progress | None
    running: list[Running]
    causes: list[Cause]
    """Why it is where it is; see ``explain``."""


class Explained(Answer, frozen=True):
    """Why a message does not run now: the first cause that holds comes first."""

    id: str
    queue: str
    found: bool | None
    causes: list[Cause]


class Result(Answer, frozen=True):
    """What has become of a message, and what its handler returned."""

    id: str
    queue: str
    status: JobStatus
    """``done``, ``failed``, ``dead``, ``expired`` and ``cancelled`` are final."""
    at: Moment | None
    """When that was recorded."""
    attempt: int | None
    value: Body | None
    """What the handler returned; null: it has not ended, or returned nothing that can be kept."""
    error: str
    """Why there is no result, or why the last attempt failed; empty: nothing failed."""
    kind: str
    """Of the error."""
    reason: str
    """Why it was given up, as its dead letter says; empty: it was not."""
    progress: Progress | None


class Hit(Answer, frozen=True):
    """A message that was found."""

    queue: str
    message: MessageItem


class Found(Answer, frozen=True):
    """The found messages, and how far the search went."""

    hits: list[Hit]
    searched: int
    """Messages that were looked through."""
    is_over: bool
    """Whether time, messages or hits ended the search."""
    cut: list[str]
    """Queues with more messages than were looked through."""
    unseen: dict[str, str]
    """Queue, and why it was not looked into."""


class DryRun(Answer, frozen=True):
    """How the handler ended, and what it would have done. Nothing was settled, published or written."""

    message: str
    queue: str
    outcome: str
    """ack, retry, dead_letter, snooze, release, timeout, died, problem."""
    seconds: float | None
    consumer: str
    function: str
    error: str
    reason: str
    type: str
    place: str
    traceback: str
    delay: float
    effects: list[dict[str, Any]]
    """Recorded instead of done, in order."""
    logs: list[dict[str, Any]]
    output: str
    errors: str
    warnings: list[str]
