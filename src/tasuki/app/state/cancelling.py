"""Cancel messages of the queues of an app."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from tasuki.app.state.finding import needed_state
from tasuki.contracts.state.jobs import Cancellation, CancelOutcome
from tasuki.errors import ConflictError, QueueNotFoundError
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.security.guard import Guard
from tasuki.state.cancelling import Cancelled, cancel, each, forget, is_held_nowhere, is_recorded
from tasuki.state.job_records import JobRecord, decode, encode, result_key

if TYPE_CHECKING:
    from tasuki.app.host import ProjectHost

_log = logging.getLogger("tasuki.app")


def permit(guard: Guard | None, queue: str) -> None:
    """Raise PolicyDeniedError: messages of this queue may not be cancelled."""
    if guard is not None:
        guard.require("queue.cancel.queue", queue, f"not allowed to cancel messages of queue: {queue}")


async def cancel_in(host: ProjectHost, guard: Guard | None, queue: str, ids: Iterable[str]) -> Cancellation:
    """Cancel messages of one queue, by its id.

    Raises:
        PolicyDeniedError: the actor may not.
        QueueNotFoundError: there is no such queue.
        UnsupportedError: it has no state.
        DriverError: its store or its broker cannot be reached.
    """
    permit(guard, queue)
    wanted, place = list(dict.fromkeys(ids)), _cancelled(host, queue)
    kept = host.queue(queue).policy.result
    is_one = kept is not None and len(wanted) == 1  # of many, no caller waits for one
    found, given_up = await cancel(place, wanted, int(is_one and await _is_running(place, wanted[0])))
    if kept is not None and found.not_found < len(wanted):
        await each(_note(place, id, kept.ttl) for id in wanted)
    if found.waiting and place.driver.capabilities.has("remove"):
        await _end_members(host, queue, given_up)
    _log.info("cancelled in %s: %d waiting, %d running, %d not found, %d requested", queue, *_counts(found),
              extra={"queue": queue, "actor": _actor(guard)})  # fmt: skip
    return found


async def cancel_anywhere(host: ProjectHost, guard: Guard | None, id: str) -> CancelOutcome:
    """Cancel the message in whichever queue has it; where it surely is not, it may be published later.

    It may be with a worker that does not answer, so it stays cancelled in a queue of which any message is held, if it
    was found in none; and where it was cancelled before. Queues that only keep dead letters are left alone.

    Raises:
        PolicyDeniedError: the actor may cancel in none of the queues.
        UnsupportedError: no queue has a state.
        QueueNotFoundError: there is no queue.
    """
    queues = _queues(host)
    allowed = [each for each in queues if guard is None or guard.decide("queue.cancel.queue", each).allowed] or queues[
        :1
    ]
    places = [place for place in allowed if host.state_of(place) is not None] or allowed[:1]
    if not places:
        raise QueueNotFoundError("the project has no queue", queue="")
    before = await asyncio.gather(*(_is_cancelled(host, guard, queue, id) for queue in places))
    found = await asyncio.gather(*(cancel_in(host, guard, queue, [id]) for queue in places))
    is_found = any(one.waiting or one.running for one in found)
    for queue, one, was_cancelled in zip(places, found, before, strict=True):
        place = _cancelled(host, queue)
        is_elsewhere = is_found and not (one.waiting or one.running)
        if not was_cancelled and (is_elsewhere or (one.not_found and await is_held_nowhere(place))):
            await forget(place, id)
    return sum(found, Cancellation()).outcome


async def _end_members(host: ProjectHost, queue: str, given_up: Mapping[str, bool]) -> None:
    """Tell the groups of members that were removed, and so never reach a worker that would; or surely, as each says."""
    from tasuki.app.flow.groups import end_cancelled

    await each(end_cancelled(host, queue, id, is_removed=is_removed) for id, is_removed in given_up.items())


async def _is_running(place: Cancelled, id: str) -> bool:
    """Whether a handler runs, as its job says: a message that was acked first is with no worker any more."""
    found = await (await place.state.store()).get(result_key(place.queue, id))
    record = None if found is None else decode(found.value)
    return record is not None and record.status == "running"


async def _is_cancelled(host: ProjectHost, guard: Guard | None, queue: str, id: str) -> bool:
    permit(guard, queue)
    place = _cancelled(host, queue)
    [is_cancelled] = await is_recorded(place.state, place.queue, [id])
    return is_cancelled


async def _note(place: Cancelled, id: str, ttl: float) -> None:
    """Let the job of a message that had not started end here; its worker writes the end of all others."""
    store, key = await place.state.store(), result_key(place.queue, id)
    found = await store.get(key)
    record = None if found is None else decode(found.value)
    if record is None or record.status == "waiting":
        with suppress(ConflictError):  # it has just started
            version = 0 if found is None else found.version
            await store.put(key, encode(JobRecord("cancelled", place.state.clock.time())), ttl=ttl, version=version)


def _cancelled(host: ProjectHost, queue: str) -> Cancelled:
    live = host.queue(queue)
    state = needed_state(host, queue, "cancelling")
    return Cancelled(state, live.driver, live.spec.name, live.policy.cancels_strictly)


def _queues(host: ProjectHost) -> list[str]:
    """The queues whose messages are handled; of a project without consumers all that keep no dead letters."""
    consumed = {config.queue for config in host.project.of(ConsumerConfig).values()}
    configs = host.project.of(QueueConfig)
    dead = {config.dead_letter.queue for config in configs.values() if config.dead_letter is not None}
    return [id for id in configs if id in consumed or id not in dead]


def _counts(found: Cancellation) -> tuple[int, ...]:
    return found.waiting, found.running, found.not_found, found.requested


def _actor(guard: Guard | None) -> str | None:
    return None if guard is None or guard.actor is None else guard.actor.id
