"""Planned: a message that is published later, as a member of a group or after other messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from tasuki.app.tasks.options import MESSAGE, OF_SENDER, refuse_unknown
from tasuki.contracts.state import following
from tasuki.contracts.state.following import CHAIN, Later, carried, follower_in, plain_message, plain_option
from tasuki.errors import PublishError
from tasuki.flow.group_records import GroupPlan, plain
from tasuki.ids import resolve_id
from tasuki.queues.queue import Envelope

if TYPE_CHECKING:
    from tasuki.consumers.reach.host import FullId
    from tasuki.message import HeaderValue

_OPTIONS = frozenset(Envelope.__struct_fields__) - {"body", "headers"}


class Planned(Envelope[Any], kw_only=True, forbid_unknown_fields=True):
    """A message of a queue or task, for groups, ``then`` and ``publish_many``; ``jobs.message(body)``.

    ``then`` and ``on_error`` follow it in their turn.
    """

    queue: str
    """Name or id of its queue."""
    then: Planned | None = None
    on_error: Planned | None = None
    fill: str | None = None
    """See Plan."""

    def check_for(self, queue: str) -> None:
        """See Envelope."""
        own = resolve_id(self.queue, queue.partition(":")[0])
        if own != queue:
            raise PublishError(
                f"the message is of queue {own!r}, not of {queue!r}: give it to that queue's publish_many"
            )
        if self.then is not None or self.on_error is not None:
            raise PublishError(
                "publish_many takes no message with then or on_error: publish it alone, as in "
                "await task.with_options(then=…).publish(…)"
            )
        if self.fill is not None:
            raise PublishError("the message is given a result that it follows: use it as then or on_error")

    def plain(self) -> Mapping[str, Any]:
        """Its parts, for any process; see :class:`tasuki.contracts.state.following.Later`."""
        return plain_message(
            self.queue,
            self.body,
            headers=dict(self.headers or {}),
            options={name: plain_option(value) for name, value in _given(self)},
            fill=self.fill,
            then=carried(self.then),
            on_error=carried(self.on_error),
        )


def planned(queue: str, body: Any, headers: Mapping[str, HeaderValue] | None, options: Mapping[str, Any]) -> Planned:
    """A message with the options of ``publish``. Raises TypeError: an option that it cannot have."""
    if foreign := sorted((options.keys() & OF_SENDER) - set(MESSAGE)):
        raise TypeError(f"message(…) has no option {foreign[0]!r}: it is for a message that is published now")
    refuse_unknown("message(…)", options, MESSAGE)
    left = dict(options)
    then, on_error = left.pop("then", None), left.pop("on_error", None)
    then, on_error = follower("then", then), follower("on_error", on_error)
    return Planned(queue=queue, body=body, headers=headers, then=then, on_error=on_error, **left)


def follower(option: str, what: object) -> Planned | None:
    """A message, or a queue or task that is given the result. Raises TypeError: it is none of these."""
    found = following.follower(option, what)
    if isinstance(found, str):
        return Planned(queue=found, body=None, fill="")
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
            raise PublishError(
                f"member {number} of the group has its own then or on_error; only the group may have one"
            )
        refuse_unique(each, f"member {number} of the group")
    return found


def refuse_unique(envelope: Envelope[Any], what: str) -> None:
    """Raise PublishError for a message that may never be stored, so that what follows it would never come."""
    if envelope.unique is not None:
        raise PublishError(f"{what} is unique, so it may not be stored, and what follows would wait forever")


def _given(envelope: Envelope[Any]) -> Iterator[tuple[str, Any]]:
    """The options that are set."""
    for name in sorted(_OPTIONS):
        if (value := getattr(envelope, name)) not in (None, 0, 0.0):
            yield name, value


def plan_of(message: Planned | None, full_id: FullId) -> GroupPlan | None:
    """As it is recorded. Raises PublishError: its body is no plain data."""
    if message is None:
        return None
    options = {name: plain_option(value) for name, value in _given(message)}
    if isinstance(at := options.get("at"), datetime):
        options["at"] = at.timestamp()
    queue = full_id(message.queue)
    return GroupPlan(
        queue,
        plain(queue, message.body),
        dict(message.headers or {}),
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
