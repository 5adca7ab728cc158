"""Groups in a store: begin one, end its members, and publish the following messages once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from tasuki.contracts.state.store import Store
from tasuki.errors import ConflictError, StoreLimitError, TasukiError, nature_of
from tasuki.flow.group_records import (
    CANCELED,
    GROUP_TTL,
    SHARD,
    GroupPlan,
    GroupRecord,
    MemberEnd,
    Shard,
    apart_in,
    decode_group,
    decode_shard,
    encode,
    group_key,
    problem_of,
    result_key,
    results_of,
    shard_key,
    with_cancelled,
    with_done,
)

_log = logging.getLogger("tasuki.flow")

_SUFFIX = ":error"
_LONGEST_PAUSE = 0.1

Publish = Callable[[GroupPlan, str, Any], Awaitable[None]]
"""Publishes the message of a plan under an id, with a result. The same id may come again after a crash."""


async def begin(store: Store, id: str, group: GroupRecord, now: float) -> int | None:
    """Record a group before its members are published; the version, or None: one is there already.

    That one stays, is kept as long, and gets a new version: the call that wrote it does not withdraw it any more.
    """
    while True:
        with suppress(ConflictError):
            return await store.put(group_key(id), encode(group), ttl=group.lasts(now), version=0)
        found = await store.get(group_key(id))
        if found is None:
            continue
        there = decode_group(found.value)
        until = max(there.until, group.until)
        if not there.is_kept_until(until):
            if await keep(store, id, until, now):
                return None
            continue  # it was withdrawn meanwhile, or is kept by now
        with suppress(ConflictError):
            await store.put(group_key(id), found.value, ttl=there.lasts(now), version=found.version)
            return None
        await _pause()


async def keep(store: Store, id: str, until: float, now: float) -> bool:
    """Keep the records of a group until a Unix time, or for longer; whether that was to do.

    The group's own record is the last one that is written: a crash before that leaves all to the next call.
    """
    while True:
        found = await store.get(group_key(id))
        if found is None or (group := decode_group(found.value)).is_kept_until(until):
            return False
        for index in range(group.shards):
            key = shard_key(id, group.token, index)
            await renew(store, key, until - now)
            if (record := await store.get(key)) is not None:
                for number in apart_in(decode_shard(record.value), index):
                    await renew(store, result_key(id, group.token, number), until - now)
        kept = encode(msgspec.structs.replace(group, until=until))
        try:
            await store.put(group_key(id), kept, ttl=until - now, version=found.version)
        except ConflictError:
            await _pause()
            continue
        return True


async def renew(store: Store, key: str, ttl: float) -> None:
    """Keep what a key has for longer."""
    while (found := await store.get(key)) is not None:
        try:
            await store.put(key, found.value, ttl=ttl, version=found.version)
        except ConflictError:
            await _pause()
            continue
        return


async def forget(store: Store, id: str, group: GroupRecord, shards: Sequence[Shard]) -> None:
    """Delete the records of a group: first the group's, without which the others mean nothing."""
    await store.delete(group_key(id))
    for index, shard in enumerate(shards):
        for number in apart_in(shard, index):
            await store.delete(result_key(id, group.token, number))
        await store.delete(shard_key(id, group.token, index))


async def withdraw(store: Store, id: str, version: int) -> None:
    """Delete the record that ``begin`` has written, unless others rely on it: its message was certainly not stored."""
    with suppress(ConflictError):
        await store.delete(group_key(id), version=version)


class Member:
    """Ends one member: its bit first, then the following messages. Safe to repeat at any point.

    Args:
        store: where the record is.
        id: of the group.
        number: of the member.
        publish: publishes what follows.
        now: Unix time.
    """

    def __init__(self, store: Store, id: str, number: int, publish: Publish, now: float) -> None:
        self._store = store
        self._id = id
        self._number = number
        self._publish = publish
        self._now = now

    async def end(self, ended: MemberEnd) -> bool:
        """Record how it has ended, and publish what follows; False: the group is over, or its record is elsewhere.

        Raises DriverError: end it again.
        """
        found = await self._store.get(group_key(self._id))
        if found is None:
            return False
        group = decode_group(found.value)
        if self._number >= group.total:
            return True
        shard, bit = await self._mark(group, ended), 1 << self._number % SHARD
        # A cancellation that was recorded first counts; who made it may have failed to publish on_error.
        error = CANCELED if shard.cancelled & bit else ended.error
        if error is not None and not shard.done & bit:
            await self._fail(error)
        elif shard.done == group.full(self._number // SHARD):
            await self._complete(group, shard)
        elif shard.problem:  # then cannot be published: on_error follows before the others have run
            await self._fail({"kind": "Invalid", "message": shard.problem, "retryable": False})
        if not group.is_kept_until(self._now + GROUP_TTL):
            await keep(self._store, self._id, self._now + GROUP_TTL, self._now)
        return True

    async def _mark(self, group: GroupRecord, ended: MemberEnd) -> Shard:
        """Its shard, in which its bit is set if it is done; or as cancelled, where its error is kept."""
        number = self._number // SHARD
        key = shard_key(self._id, group.token, number)
        while True:
            found = await self._store.get(key)
            before = Shard() if found is None else decode_shard(found.value)
            if ended.error is None:
                after = with_done(before, self._number, ended, needs_result=group.needs_results, room=group.room)
            else:
                after = with_cancelled(before, self._number) if ended.is_kept else before
            if after is before:
                return before
            try:
                if after.apart != before.apart:
                    await self._put_apart(group, ended.result)
                await self._store.put(
                    key, encode(after), ttl=group.lasts(self._now), version=0 if found is None else found.version
                )
            except ConflictError:
                await _pause()
                continue
            except StoreLimitError as error:
                if ended.problem or ended.error is not None:
                    raise
                ended = MemberEnd(problem=f"the result of member {self._number} cannot be kept: {error}")
                continue
            return after

    async def _put_apart(self, group: GroupRecord, result: Any) -> None:
        """Keep its result under its own key; the first one counts, also of a worker that died before its bit."""
        key = result_key(self._id, group.token, self._number)
        with suppress(ConflictError):
            await self._store.put(key, encode(result), ttl=group.lasts(self._now), version=0)

    async def _results(self, group: GroupRecord, shards: list[Shard]) -> Any:
        """What ``then`` is given."""
        apart: dict[int, bytes] = {}
        for index, shard in enumerate(shards):
            for number in apart_in(shard, index):
                found = await self._store.get(result_key(self._id, group.token, number))
                apart[number] = encode(None) if found is None else found.value
        return results_of(group, shards, apart)

    async def _complete(self, group: GroupRecord, own: Shard) -> None:
        """Publish ``then`` if all members are done and no other one does."""
        shards: list[Shard] = []
        for number in range(group.shards):
            shard = own
            if number != self._number // SHARD:
                found = await self._store.get(shard_key(self._id, group.token, number))
                shard = Shard() if found is None else decode_shard(found.value)
            if shard.done != group.full(number):
                return
            shards.append(shard)
        mine = await self._change(lambda group: msgspec.structs.replace(group, ender=self._number), "ender")
        if mine is None:
            return
        problem = problem_of(mine, shards)
        if not problem and mine.then is not None:
            value = await self._results(mine, shards)
            try:
                await self._publish(mine.then, f"group:{self._id}", value)
            except TasukiError as error:
                if nature_of(error) != "final":
                    raise
                problem = str(error)
        if problem:
            _log.error("group %s is done, and its next message cannot be published: %s", self._id, problem)
            await self._fail({"kind": "Invalid", "message": problem, "retryable": False})
        await forget(self._store, self._id, mine, shards)

    async def _fail(self, error: dict[str, Any]) -> None:
        """Publish ``on_error`` if no other member has done so."""
        mine = await self._change(
            lambda group: msgspec.structs.replace(group, failed_member=self._number), "failed_member"
        )
        if mine is None or mine.on_error is None or mine.is_failure_told:
            return
        try:
            await self._publish(mine.on_error, f"group:{self._id}{_SUFFIX}", {**error, "group": self._id})
        except TasukiError as problem:
            if nature_of(problem) != "final":
                raise
            _log.error("group %s has failed, and its on_error cannot be published: %s", self._id, problem)
        await self._change(lambda group: msgspec.structs.replace(group, is_failure_told=True), "failed_member")

    async def _change(self, change: Callable[[GroupRecord], GroupRecord], role: str) -> GroupRecord | None:
        """The record after a change; None: another member has the role, or the group is over."""
        while True:
            found = await self._store.get(group_key(self._id))
            if found is None:
                return None
            group = decode_group(found.value)
            if getattr(group, role) not in (-1, self._number):
                return None
            if (changed := change(group)) == group:
                return group
            try:
                await self._store.put(
                    group_key(self._id), encode(changed), ttl=group.lasts(self._now), version=found.version
                )
            except ConflictError:
                await _pause()
                continue
            return changed


async def _pause() -> None:
    """Let the other one go first."""
    await asyncio.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311 - jitter
