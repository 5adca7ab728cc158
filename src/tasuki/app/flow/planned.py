"""Planned: a message that is published later, as a member of a group or after other messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tasuki.app.tasks.options import SENDING, refuse_unknown
from tasuki.contracts.state import following
from tasuki.contracts.state.following import CHAIN, Later, carried, follower_in, plain_message
from tasuki.errors import PublishError
from tasuki.flow.group_records import Plan, plain
from tasuki.queues.queue import Envelope
from tasuki.units import plain_duration

if TYPE_CHECKING:
    from tasuki.consumers.reach.host import FullId
    from tasuki.message import HeaderValue

_OPTIONS = frozenset(Envelope.__struct_fields__) - {"body", "headers"}


@dataclass(frozen=True, slots=True)
class Planned:
    """A message of a queue or task; ``jobs.message(body)``, ``send.message(url)``.

    ``then`` and ``on_error`` follow it in their turn.
    """

    queue: str
    """Name or id of its queue."""
    envelope: Envelope[Any]
    then: Planned | None = None
    on_error: Planned | None = None
    fill: str | None = None
    """See Plan."""

    @property
    def id(self) -> str | None:
        """Its own id; None: it gets one when it is published."""
        return self.envelope.id

    def plain(self) -> Mapping[str, Any]:
        """Its parts, for any process; see :class:`tasuki.contracts.state.following.Later`."""
        return plain_message(
            self.queue,
            self.envelope.body,
            headers=dict(self.envelope.headers or {}),
            options={name: plain_duration(value) for name, value in _given(self.envelope)},
            fill=self.fill,
            then=carried(self.then),
            on_error=carried(self.on_error),
        )


def planned(queue: str, body: Any, headers: Mapping[str, HeaderValue] | None, options: Mapping[str, Any]) -> Planned:
    """A message with the options of ``publish``. Raises TypeError: an option that it cannot have."""
    refuse_unknown("message(…)", options, SENDING)
    left = dict(options)
    then, on_error = left.pop("then", None), left.pop("on_error", None)
    if foreign := sorted(left.keys() - _OPTIONS):
        raise TypeError(f"message(…) has no option {foreign[0]!r}: it is for a message that is published now")
    envelope = Envelope(body=body, headers=headers, **left)
    return Planned(queue, envelope, follower("then", then), follower("on_error", on_error))


def follower(option: str, what: object) -> Planned | None:
    """A message, or a queue or task that is given the result. Raises TypeError: it is none of these."""
    found = following.follower(option, what)
    if isinstance(found, str):
        return Planned(found, Envelope(body=None), fill="")
    return None if found is None else planned_of(found)


def planned_of(message: Later) -> Planned:
    """The message as it is here. Raises TypeError: it has an option that it cannot have."""
    if isinstance(message, Planned):
        return message
    fields = message.plain()
    next_ = {name: follower_in(fields.get(name)) for name in CHAIN}
    made = planned(fields["queue"], fields["body"], fields.get("headers"), {**fields.get("options", {}), **next_})
    return replace(made, fill=fields.get("fill"))


def members_of(what: Iterable[object]) -> list[Planned]:
    """The members of a group. Raises TypeError: one is no message; PublishError: one cannot be a member."""
    found = [planned_of(each) for each in following.members_of(what)]
    for number, each in enumerate(found):
        if each.then is not None or each.on_error is not None:
            raise PublishError(f"member {number} of the group has then or on_error of its own; only the group has one")
        refuse_unique(each.envelope, f"member {number} of the group")
    return found


def refuse_unique(envelope: Envelope[Any], what: str) -> None:
    """Raise PublishError for a message that may never be stored, so that what follows it would never come."""
    if envelope.unique is not None:
        raise PublishError(f"{what} is unique, so it may not be stored, and what follows would wait for ever")


def _given(envelope: Envelope[Any]) -> Iterator[tuple[str, Any]]:
    """The options that are set."""
    for name in sorted(_OPTIONS):
        if (value := getattr(envelope, name)) not in (None, 0, 0.0):
            yield name, value


def plan_of(message: Planned | None, full_id: FullId) -> Plan | None:
    """As it is recorded. Raises PublishError: its body is no plain data."""
    if message is None:
        return None
    envelope = message.envelope
    options = {name: plain_duration(value) for name, value in _given(envelope)}
    if isinstance(at := options.get("at"), datetime):
        options["at"] = at.timestamp()
    queue = full_id(message.queue)
    return Plan(
        queue,
        plain(queue, envelope.body),
        dict(envelope.headers or {}),
        options,
        message.fill,
        plan_of(message.then, full_id),
        plan_of(message.on_error, full_id),
    )


def queues_of(*messages: Planned | None) -> list[str]:
    """The queues of messages and of all that follow them, by name."""
    found: list[str] = []
    for each in messages:
        if each is not None:
            found += [each.queue, *queues_of(each.then, each.on_error)]
    return list(dict.fromkeys(found))
