"""What every answer of the API is, and what acts and health answer."""

from __future__ import annotations

from typing import Any

import msgspec

from tasuki.moments import Moment
from tasuki.state.audit.ring import AuditRecord


class Answer(msgspec.Struct, frozen=True):
    """An answer of the API."""


class Problem(Answer, frozen=True):
    """Why there is no other answer (RFC 9457)."""

    title: str
    status: int
    detail: str
    code: str
    """Stable, for programs."""
    type: str = "about:blank"
    problems: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    """Of an edited message: ``field``, ``text``, and the ``line`` of its body."""


class Acts(Answer, frozen=True):
    """Some acts, the newest first."""

    items: list[AuditRecord]
    next: str | None
    count: int


class Check(Answer, frozen=True):
    """One finding about this process."""

    name: str
    status: str
    since: Moment
    text: str


class Health(Answer, frozen=True):
    """Whether messages move in this process, or in all processes of ``run --processes``."""

    status: str
    live: bool
    ready: bool
    time: Moment
    checks: list[Check]


class Done(Answer, frozen=True):
    """An act that has happened."""

    act: str
    target: str
    result: str
    """One word for programs: done, or what else there was."""
    text: str
    message: str | None = None
    """The id of a message that it was about, or that it made."""
    count: int | None = None
    """Messages that it was done to."""
    batch: str | None = None
    """The id of the batch that it began or changed."""
    warnings: list[str] = []
    """What the actor should know of it."""
