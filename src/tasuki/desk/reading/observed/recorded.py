"""The latest events of the messages of a worker, as its flight recorder tells."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tasuki.consumers.handling.stack import stacks_as_events
from tasuki.consumers.reports.recorder_queries import message_as_events
from tasuki.desk.reading.snapshot import RunningRow
from tasuki.desk.site import Site
from tasuki.observe.events import STACK, as_dicts
from tasuki.state.recorder_requests import Worker, ask
from tasuki.state.worker_record import Presence

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.app.assembly import Assembly
    from tasuki.state.shared import SharedState

NEWEST = 50
"""Events of each consumer."""
_PATIENCE = 2.0
"""Seconds in which the worker answers; one whose event loop is blocked does not."""

Lines = list[tuple[str, dict[str, Any]]]
"""Consumer, and one of its events."""


async def events_by_consumer(site: Site, worker: Presence, newest: int) -> Mapping[str, Sequence[dict[str, Any]]]:
    """The newest events of each consumer that has answered, the newest last. Raises AwayError, DriverError."""
    return await _found(site, worker, newest)


async def events_of(site: Site, worker: Presence) -> tuple[Lines, list[str]]:
    """Its events, the newest first, and the consumers that have not answered. Raises AwayError, DriverError."""
    lines, silent = await _read(site, worker, NEWEST)
    return sorted(lines, key=lambda line: -line[1]["at"]), silent


async def stacks_in(site: Site, worker: Presence) -> tuple[Lines, list[str]]:
    """Where its handlers stand, as events of the kind ``stack``, the oldest delivery first; as ``events_of``."""
    lines, silent = await _read(site, worker, 0)
    return [(consumer, event) for consumer, event in lines if event["kind"] == STACK], silent


async def held_in(site: Site, queue: str, running: RunningRow) -> Sequence[dict[str, Any]]:
    """A running message and the stack of its handler, as events. Raises AwayError, DriverError."""
    id, who = running.message.id, Worker(running.host, running.pid)

    async def look(live: Assembly) -> Sequence[dict[str, Any]]:
        state = live.state_of(queue)
        if state is not None and state.driver.capabilities.multi_process:
            answers = await ask(await state.store(), who, {running.consumer}, 0, _PATIENCE, message=id)
            return answers.get(running.consumer, ())
        own = live.consumers.get(running.consumer)
        return () if own is None else message_as_events(own.now.workers, id, own.clock)

    return await site.at(queue, look)


async def _read(site: Site, worker: Presence, newest: int) -> tuple[Lines, list[str]]:
    found = await _found(site, worker, newest)
    lines = [(consumer, event) for consumer, events in found.items() for event in events]
    return lines, sorted({consumer.id for consumer in worker.consumers} - found.keys())


async def _found(site: Site, worker: Presence, newest: int) -> dict[str, list[dict[str, Any]]]:
    wanted = {consumer.id for consumer in worker.consumers}
    found: dict[str, list[dict[str, Any]]] = {}
    for app, ids in site.parts():
        found |= await site.on(app, partial(_in, app=app, ids=ids, worker=worker, wanted=wanted, newest=newest))
    return found


async def _in(
    live: Assembly, *, app: App, ids: list[str], worker: Presence, wanted: set[str], newest: int
) -> dict[str, list[dict[str, Any]]]:
    by_state: dict[SharedState, set[str]] = {}
    found: dict[str, list[dict[str, Any]]] = {}
    for consumer in live.consumers.values():
        if consumer.id not in wanted or consumer.queue.id not in ids:
            continue
        state = live.state_of(consumer.queue.id)
        if state is not None and state.driver.capabilities.multi_process:
            by_state.setdefault(state, set()).add(consumer.id)
        elif newest:
            found[consumer.id] = as_dicts(consumer.recent()[-newest:], app._runtime.clock)
        else:
            found[consumer.id] = stacks_as_events(consumer.now.workers, app._runtime.clock.time())
    answers = await asyncio.gather(
        *(_ask(state, worker, consumers, newest) for state, consumers in by_state.items() if state.opened is not None)
    )
    for answer in answers:
        found |= answer
    return found


async def _ask(
    state: SharedState, worker: Presence, consumers: set[str], newest: int
) -> dict[str, list[dict[str, Any]]]:
    store, who = await state.store(), Worker(worker.host, worker.pid)
    return await ask(store, who, consumers, newest, _PATIENCE, stacks=not newest)
