"""The latest events of the messages of a worker, on any machine; asked for through the store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.exits import CommandError
from tasuki.cli.output import print_json, print_table
from tasuki.moments import dated
from tasuki.observe.events import STACK
from tasuki.observe.plain import escape_lines

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.state.worker_record import Presence

Found = dict[str, list[dict[str, Any]]]
"""The events of each consumer, by its id."""


def is_named(worker: Presence, id: str) -> bool:
    """Whether an id, ``HOST:PID`` or ``PID``, is a worker's."""
    return id in (f"{worker.host}:{worker.pid}", str(worker.pid))


async def events_of(app: App, id: str, newest: int) -> Found:
    """The newest events of each consumer of a worker, and after them where its handlers are (the kind ``stack``).

    Raises:
        CommandError: there is no such worker, or several; or it does not answer.
        DriverError: a store cannot be reached.
    """
    from tasuki.state.recorder_requests import PATIENCE, Worker, ask

    async with app._runtime.reading():
        assert app._runtime.assembly is not None
        workers = [worker for worker in await app.workers.list() if is_named(worker, id)]
        names = {(worker.host, worker.pid) for worker in workers}
        if len(names) != 1:
            problem = "no worker" if not names else f"{len(names)} workers"
            raise CommandError(f"{problem} with the id {id!r}; 'tasuki workers' lists host and pid: give HOST:PID")
        consumers = {consumer.id for worker in workers for consumer in worker.consumers}
        found: Found = {}
        for state in app._runtime.assembly.states_of_queues():
            left = consumers - found.keys()
            mine = {id for id in left if _is_in(app, id, state)}
            if mine:
                found |= await ask(await state.store(), Worker(*next(iter(names))), mine, newest, stacks=True)
    if not found and consumers:
        raise CommandError(
            f"worker {id} has not answered for {PATIENCE:g} s: its event loop may be blocked; then its log has the "
            "events, and QUIT prints them"
        )
    return found


def _is_in(app: App, consumer: str, state: object) -> bool:
    """Whether a consumer of this project has its state there; unknown ones may have it anywhere."""
    known = None if app._runtime.assembly is None else app._runtime.assembly.consumers.get(consumer)
    return known is None or known.state is state


def show_events(found: Found, *, as_json: bool) -> None:
    """Print them."""
    if as_json:
        print_json(dated(found, ("at",)))
        return
    lines = [(consumer, event) for consumer, events in sorted(found.items()) for event in events]
    rows = [
        (_time(event["at"]), consumer, event["kind"], event["message"] or "", event["attempt"] or "", _value(event))
        for consumer, event in lines
        if event["kind"] != STACK
    ]
    if not rows:
        click.echo("nothing has happened yet", err=True)
        return
    print_table(("TIME (UTC)", "CONSUMER", "EVENT", "MESSAGE", "ATTEMPT", ""), rows)
    for consumer, event in lines:
        if event["kind"] == STACK:
            click.echo(f"\n{consumer} runs message {event['message']}, attempt {event['attempt']}, and is in:")
            click.echo(escape_lines(event["value"]))


def _time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%H:%M:%S.%f")[:-3]


def _value(event: dict[str, Any]) -> str:
    value = event["value"]
    if value is None:
        return ""
    return f"{value * 1000:.1f} ms" if event["kind"] == "ended" else str(value)
