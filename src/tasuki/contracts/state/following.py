"""Following: messages that a user plans, as members of a group or after other messages; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from tasuki.units import plain_duration

CHAIN = frozenset({"then", "on_error"})
"""The options of a publish that name what follows."""


@runtime_checkable
class Later(Protocol):
    """A message that is published later: ``jobs.message(body)``, ``send.message(url)``, ``context.message_to(…)``."""

    @property
    def id(self) -> str | None:
        """Its own id; None: it gets one when it is published."""

    def plain(self) -> Mapping[str, Any]:
        """Its ``queue`` and ``body``, and if it has them ``headers``, ``options``, ``fill``, ``then``, ``on_error``."""


@runtime_checkable
class Fillable(Protocol):
    """A queue or a task."""

    def filled(self) -> Later:
        """The message that is given a result."""


Follower = Later | Fillable | str
"""What follows: a message as it is; or a queue (also by its id) or a task, which is given the result."""


@dataclass(frozen=True, slots=True)
class StartedGroup:
    """A group whose members are published: its id, and the ids of its members in order."""

    id: str
    members: list[str]


@dataclass(frozen=True, slots=True)
class PlainMessage:
    """A message that is published later, as plain data; see :class:`Later`."""

    fields: Mapping[str, Any]

    @property
    def id(self) -> str | None:
        """Its own id, among its options."""
        id: str | None = self.fields.get("options", {}).get("id")
        return id

    def plain(self) -> Mapping[str, Any]:
        """The data."""
        return self.fields


def message_to(queue: str, body: Any, headers: Mapping[str, Any] | None, options: Mapping[str, Any]) -> PlainMessage:
    """A message to a queue by id. Raises TypeError: what follows it is no message."""
    left = {name: plain_option(value) if name not in CHAIN else value for name, value in options.items()}
    next_ = {name: carried(follower(name, left.pop(name, None))) for name in CHAIN}
    return PlainMessage(plain_message(queue, body, headers=dict(headers or {}), options=left, **next_))


def plain_option(value: Any) -> Any:
    """An option as plain data: a duration in seconds, Retries as their fields."""
    fields = getattr(value, "fields", None)
    return fields() if callable(fields) else plain_duration(value)


def plain_message(queue: str, body: Any, **parts: Any) -> dict[str, Any]:
    """A message as :meth:`Later.plain` has it; parts that are empty are left out."""
    return {"queue": queue, "body": body, **{name: part for name, part in parts.items() if part not in (None, {})}}


def follower(option: str, what: object) -> Later | str | None:
    """What follows, as a message or the id of a queue. Raises TypeError: it is neither, no queue and no task."""
    if what is None or isinstance(what, str | Later):
        return what
    if isinstance(what, Fillable):
        return what.filled()
    raise TypeError(f"{option} is a queue, a task or its message (jobs.message(…)), not {type(what).__name__}")


def unfollowed(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The options of a publish without those that name what follows; None: something does."""
    if any(options.get(name) is not None for name in CHAIN):
        return None
    return {name: value for name, value in options.items() if name not in CHAIN}


def members_of(what: Iterable[object]) -> list[Later]:
    """The members of a group. Raises TypeError: one is no message."""
    found: list[Later] = []
    for number, each in enumerate(what):
        if not isinstance(each, Later):
            raise TypeError(
                f"member {number} of the group is {type(each).__name__}; give it as a message: jobs.message(body), or "
                "of a task send.message(url)"
            )
        found.append(each)
    return found


def ids_of(group: str, members: Sequence[Later]) -> list[str]:
    """The ids of a group's members in order."""
    return [each.id or f"{group}:{number}" for number, each in enumerate(members)]


def carried(what: Later | str | None) -> Any:
    """What follows as plain data, for another process; :func:`follower_in` reads it there."""
    return what if what is None or isinstance(what, str) else what.plain()


def follower_in(data: Any) -> Later | str | None:
    """What follows, of plain data."""
    return data if data is None or isinstance(data, str) else PlainMessage(data)
