"""Members of groups that end without a worker: those that are cancelled while they wait."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from tasuki.app.flow.groups import publish_plan
from tasuki.contracts.state.store import Store
from tasuki.flow.group_records import CANCELED, MemberEnd, decode_group, group_key, member_key, membership_of
from tasuki.flow.groups import Member

if TYPE_CHECKING:
    from tasuki.app.host import ProjectHost


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
