"""Groups and chains of an app: publish their members, and what follows when these are done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from tasuki.app.flow.planned import Planned, follower, members_of, plan_of, planned, queues_of, refuse_unique
from tasuki.app.state.finding import needed_state
from tasuki.contracts.state.following import StartedGroup, ids_of
from tasuki.contracts.state.store import Store
from tasuki.errors import DriverError, PublishError, QueueNotFoundError
from tasuki.flow.group_records import (
    CANCELED,
    GROUP_TTL,
    MAX_ID,
    MAX_MEMBERS,
    GroupPlan,
    GroupRecord,
    MemberEnd,
    Membership,
    decode_group,
    group_key,
    member_key,
    membership_of,
)
from tasuki.flow.groups import Member, begin, keep, renew, withdraw
from tasuki.message import GROUP, Message, new_id
from tasuki.queues.messages.headers import check_name
from tasuki.queues.messages.message_builder import seconds
from tasuki.queues.queue import PUBLISH_TIMEOUT, Envelope, GroupEnvelope
from tasuki.queues.result import Confirmed, PublishResult
from tasuki.units import Duration

if TYPE_CHECKING:
    from tasuki.app.host import ProjectHost
    from tasuki.consumers.reach.host import FullId
    from tasuki.queues.queue import Queue
    from tasuki.security.guard import Guard
    from tasuki.state.shared import SharedState


_WINDOW = 86400.0
"""Seconds in which what follows is not published again, where the driver can tell."""


class Grouping:
    """Publishes for an application or a handler.

    Args:
        host: the project.
        guard: the rights of who publishes; None: all.
        full_id: the full id of each name of a queue.
    """

    def __init__(self, host: ProjectHost, guard: Guard | None, full_id: FullId) -> None:
        self._host = host
        self._guard = guard
        self._id = full_id

    async def start(
        self, members: Iterable[object], then: object = None, on_error: object = None, id: str | None = None
    ) -> StartedGroup:
        """See :meth:`tasuki.App.group`."""
        return await self._start(members_of(members), follower("then", then), follower("on_error", on_error), id)

    async def _start(
        self, members: Sequence[Planned], then: Planned | None, on_error: Planned | None, id: str | None
    ) -> StartedGroup:
        group = new_id() if id is None else check_name("group id", id)
        if len(group) > MAX_ID or len(members) > MAX_MEMBERS:
            raise PublishError(f"a group has {MAX_MEMBERS} members and {MAX_ID} characters of id at most")
        if then is None and on_error is None:
            raise PublishError("a group needs then or on_error; messages that nothing follows are for publish_many")
        for each in (then, on_error):
            self._check(each)
        record = self._with_room(
            GroupRecord(len(members), new_id(), plan_of(then, self._id), plan_of(on_error, self._id)),
        )
        if not members:
            if record.then is not None:
                await publish_plan(self._host, record.then, f"group:{group}", [])
            return StartedGroup(group, [])
        home = self._home([*members, then, on_error])
        batches: dict[str, list[GroupEnvelope[Any]]] = {}
        ids = ids_of(group, members)
        for number, each in enumerate(members):
            envelope = _member(each, ids[number], Membership(home, number, group, record.token))
            batches.setdefault(self._member_queue(each).id, []).append(envelope)
        state = needed_state(self._host, home, "a group")
        store, now = await state.store(), state.clock.time()
        record = kept(record, members, now)
        await begin(store, group, record, now)
        for number, each in enumerate(members):
            if each.id is not None:  # which does not say to which group it belongs
                key = member_key(self._id(each.queue), each.id)
                await store.put(key, str(Membership(home, number, group, record.token)).encode(), ttl=record.lasts(now))
        for queue, batch in batches.items():
            results = await self._queue(queue).publish_many(batch)
            _raise_first(results, f"group {group!r}: not all members are published; start it again with id={group!r}")
        return StartedGroup(group, ids)

    async def publish(self, queue: str, body: Any, headers: Any, options: Mapping[str, Any]) -> Confirmed:
        """Publish one message that others follow. Raises as ``Queue.publish``, and UnsupportedError."""
        left = dict(options)
        timeout = left.pop("publish_timeout", PUBLISH_TIMEOUT)
        if left.pop("connection", None) is not None:
            raise PublishError("then and on_error cannot be part of a transaction: publish without connection")
        return await self._publish(planned(queue, body, headers, left), timeout)

    async def _publish(self, message: Planned, timeout: Duration) -> Confirmed:
        refuse_unique(message, "a message with then or on_error")
        for each in (message.then, message.on_error):
            self._check(each)
        queue = self._member_queue(message)
        id = message.id or new_id()
        if len(check_name("message id", id)) > MAX_ID:
            raise PublishError(f"a message with then or on_error has {MAX_ID} characters of id at most")
        record = GroupRecord(
            1, new_id(), plan_of(message.then, self._id), plan_of(message.on_error, self._id), is_one=True
        )
        record = self._with_room(record)
        home = self._home([message, message.then, message.on_error])
        return await _publish_one(self._host, queue, message, id, (home, record), timeout)

    def _with_room(self, group: GroupRecord) -> GroupRecord:
        """The group with what the queue of ``then`` takes. Raises PublishError: that is too little for any results."""
        if group.then is None or not group.needs_results:
            return group
        queue = self._queue(group.then.queue)
        room = queue.policy.max_message_size
        if group.total > room:  # each result has a byte at least
            raise PublishError(
                f"queue {queue.id!r} takes messages of {room} bytes, and the {group.total} results of this group have "
                "more: raise its max_message_size, or give then a message of your own, which gets no results"
            )
        return msgspec.structs.replace(group, room=room)

    def _queue(self, id: str) -> Queue:
        return self._host.queue_for(self._guard, id)

    def _member_queue(self, message: Planned) -> Queue:
        queue = self._queue(self._id(message.queue))
        if queue.guard is not None:
            queue.guard.publish(queue.id)
        if queue.policy.unique is not None:
            raise PublishError(
                f"queue {queue.id!r} has a rule 'unique', so a message may not be stored, and what follows would wait "
                "forever"
            )
        return queue

    def _check(self, message: Planned | None) -> None:
        """Raise now what its publish would raise later."""
        if message is None:
            return
        queue = self._queue(self._id(message.queue))
        if message.fill is None:
            queue.validate(message)
        else:
            queue.validate_filled(message)
        if message.then is not None or message.on_error is not None:
            self._member_queue(message)
            self._home([message])
        for each in (message.then, message.on_error):
            self._check(each)

    def _home(self, messages: Sequence[Planned | None]) -> str:
        """The queue whose state keeps the record. Raises UnsupportedError: none has a state."""
        ids = [self._id(name) for name in queues_of(*messages)]
        home = next((id for id in ids if self._host.state_of(id) is not None), ids[0])
        needed_state(self._host, home, "a message that follows others")
        return home


def kept(group: GroupRecord, envelopes: Iterable[Envelope[Any]], now: float) -> GroupRecord:
    """A group that is kept from now on, also while its members are delayed."""
    latest = max((_due(each, now) for each in envelopes), default=now)
    return msgspec.structs.replace(group, until=latest + GROUP_TTL)


def _due(envelope: Envelope[Any], now: float) -> float:
    return now + seconds("delay", envelope.delay or 0) if envelope.at is None else max(envelope.at.timestamp(), now)


def _member(envelope: Envelope[Any], id: str, membership: Membership) -> GroupEnvelope[Any]:
    parts = {name: getattr(envelope, name) for name in Envelope.__struct_fields__}
    is_recorded = isinstance(envelope, GroupEnvelope) and envelope.is_recorded
    return GroupEnvelope(**{**parts, "id": id}, group=str(membership), is_recorded=is_recorded)


async def _publish_one(
    host: ProjectHost, queue: Queue, envelope: Envelope[Any], id: str, next_: tuple[str, GroupRecord], timeout: Duration
) -> Confirmed:
    home, record = next_
    state = needed_state(host, home, "a message that follows others")
    store, now = await state.store(), state.clock.time()
    version = await begin(store, id, kept(record, [envelope], now), now)
    (result,) = await queue.publish_many(
        [_member(envelope, id, Membership(home, 0, id, record.token))], publish_timeout=timeout
    )
    if isinstance(result, Confirmed):
        return result
    is_rejected = not isinstance(result.error, DriverError) or result.error.outcome == "rejected"
    if is_rejected and version is not None:  # else an earlier publish of this id may have been stored
        await withdraw(store, id, version)
    raise result.error


def _raise_first(results: Sequence[PublishResult], problem: str) -> None:
    for result in results:
        if not isinstance(result, Confirmed):
            result.error.add_note(problem)
            raise result.error


async def publish_plan(host: ProjectHost, plan: GroupPlan, id: str, value: Any) -> None:
    """Publish a recorded message, with the rights that were checked when it was recorded.

    Raises:
        PublishError, CodecError: it can never be published. DriverError: it may be, later.
    """
    queue = _queue(host, plan.queue)
    options = dict(plan.options)
    id = options.pop("id", None) or id
    if "at" in options:
        options["at"] = datetime.fromtimestamp(options["at"], UTC)
    body, headers = plan.body_with(value), plan.headers or None
    envelope: GroupEnvelope[Any] = GroupEnvelope(body=body, headers=headers, id=id, is_recorded=True, **options)
    if plan.then is not None or plan.on_error is not None:
        record = GroupRecord(1, new_id(), plan.then, plan.on_error, is_one=True)
        home = next((each for each in (plan.queue, *_next(plan)) if host.state_of(each) is not None), plan.queue)
        await _publish_one(host, queue, envelope, id, (home, record), PUBLISH_TIMEOUT)
        return
    able = queue.driver.capabilities
    if envelope.unique is None and queue.policy.unique is None and "window" in able.unique:
        envelope.unique, envelope.unique_for = id, _WINDOW
    (result,) = await queue.publish_many([envelope])
    if not isinstance(result, Confirmed):
        raise result.error


def _next(plan: GroupPlan) -> list[str]:
    return [each.queue for each in (plan.then, plan.on_error) if each is not None]


def _queue(host: ProjectHost, id: str) -> Queue:
    """The queue of a plan. Raises PublishError: there is none any more."""
    try:
        return host.queue(id)
    except QueueNotFoundError as error:
        raise PublishError(str(error)) from error


async def end_member(host: ProjectHost, header: object, ended: MemberEnd) -> None:
    """Record that a member of a group has ended, and publish what follows.

    Raises:
        QueueNotFoundError: the project has neither the queue whose state keeps the group, nor a state that has it.
        DriverError: try it again if it is retryable.
    """
    membership = membership_of(header)
    if membership is None:
        return
    home = host.state_of(membership.home) if membership.home in host.queues else None
    if home is not None and await _end_in(home, host, membership, ended):
        return
    state = await _elsewhere(host, membership, home)
    if state is not None:
        await _end_in(state, host, membership, ended)
    elif home is None:
        host.queue(membership.home)  # raises
        needed_state(host, membership.home, "a message that follows others")


async def _end_in(state: SharedState, host: ProjectHost, membership: Membership, ended: MemberEnd) -> bool:
    publish, now = partial(publish_plan, host), state.clock.time()
    return await Member(await state.store(), membership.group, membership.number, publish, now).end(ended)


async def _elsewhere(host: ProjectHost, membership: Membership, home: SharedState | None) -> SharedState | None:
    """Another state that keeps a group: its home queue may have another name or state by now. None: no state has it."""
    for state in dict.fromkeys(host.state_of(each) for each in host.queues):
        if state is None or state is home:
            continue
        if await (await state.store()).get(group_key(membership.group)) is not None:
            return state
    return None


async def keep_member(host: ProjectHost, queue: str, message: Message, pause: float) -> None:
    """Keep the records of a message's group although the message pauses for so long. Raises DriverError."""
    membership = membership_of(message.headers[GROUP])
    if membership is None:
        return
    home = host.state_of(membership.home) if membership.home in host.queues else None
    state = home or await _elsewhere(host, membership, None)
    if state is None:  # then its end will tell
        return
    store, now = await state.store(), state.clock.time()
    if await keep(store, membership.group, now + pause + GROUP_TTL, now):
        await renew(store, member_key(queue, message.id), pause + GROUP_TTL)


async def end_cancelled(host: ProjectHost, queue: str, id: str, *, is_removed: bool) -> None:
    """End a message that was cancelled before it started, as a member of its groups. Raises DriverError: try again.

    ``is_removed``: it surely is; else a worker may have it, and the first end that is recorded counts.
    """
    for state in dict.fromkeys(host.state_of(each) for each in host.queues):
        if state is None:
            continue
        store = await state.store()
        for number, group, is_one in [*_by_id(id), *await _noted(store, queue, id)]:
            found = await store.get(group_key(group))
            if found is not None and is_one in (None, decode_group(found.value).is_one):
                member = Member(store, group, number, partial(publish_plan, host), state.clock.time())
                await member.end(MemberEnd(error=CANCELED, is_kept=not is_removed))


def _by_id(id: str) -> Iterator[tuple[int, str, bool]]:
    """Which members of which groups an id may be of, and whether the group is of one message."""
    yield 0, id, True
    group, _, number = id.rpartition(":")
    if group and number.isdecimal() and number.isascii():
        yield int(number), group, False


async def _noted(store: Store, queue: str, id: str) -> list[tuple[int, str, bool | None]]:
    found = await store.get(member_key(queue, id))
    membership = None if found is None else membership_of(found.value.decode())
    return [] if membership is None else [(membership.number, membership.group, None)]
