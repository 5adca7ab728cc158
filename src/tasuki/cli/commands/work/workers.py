"""``tasuki workers``: the worker processes on all machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.exits import CommandError
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import age, print_json, print_table
from tasuki.cli.project import Target
from tasuki.cli.tools.events import events_of, is_named, show_events
from tasuki.errors import UnsupportedError
from tasuki.moments import dated
from tasuki.observe.events import NEWEST
from tasuki.observe.plain import escape

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.state.workers import Crew
    from tasuki.state.worker_record import Presence

_HEADINGS = ("HOST", "PID", "HEALTH", "VERSION", "UP", "SEEN", "RUNNING", "DONE", "FAILED", "CONSUMERS")
_MOST_NAMES = 20
"""Consumers of a worker that are named."""


def _show(rows: list[dict[str, Any]]) -> None:
    if not rows:
        click.echo("no worker gives a sign of life; start one: tasuki run", err=True)
        return
    print_table(_HEADINGS, [_cells(row) for row in rows])
    for row in rows:
        if (health := row["health"]) is not None and health["check"]:
            text = f"{row['host']}:{row['pid']} {_words(health['status'])}: {health['check']}: {health['text']}"
            click.echo(escape(text), err=True)


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    consumers = row["consumers"]
    names = ", ".join(consumer["id"] for consumer in consumers[:_MOST_NAMES])
    more = max(len(consumers) - _MOST_NAMES, 0) + row["unlisted"].get("consumers", 0)
    left_out = f" … and {more} more" if more else ""
    counts = (row["running"], row["done"], row["failed"])
    return (
        row["host"],
        row["pid"],
        _words(row["condition"]),
        row["version"],
        age(row["up"]),
        f"{age(row['seen_ago'])} ago",
        *counts,
        names + left_out,
    )


def _words(status: str) -> str:
    return status.replace("_", " ")


def _show_running(rows: list[dict[str, Any]]) -> None:
    running = [
        (
            row["host"],
            row["pid"],
            consumer["id"],
            message["function"],
            message["id"],
            age(row["seen"] - message["since"]),
        )
        for row in rows
        for consumer in row["consumers"]
        for message in consumer["messages"]
    ]
    print_table(("HOST", "PID", "CONSUMER", "FUNCTION", "MESSAGE", "FOR"), running)


@click.command("workers")
@click.argument("worker", required=False, metavar="[ID]")
@click.option("--events", "is_of_events", is_flag=True, help="Show the latest events of the messages of worker ID.")
@click.option(
    "--newest", type=click.IntRange(1, 1024), default=NEWEST, show_default=True, help="Events of each consumer."
)
@click.option("--running", "is_of_running", is_flag=True, help="Show the messages whose handlers run now.")
@json_option
@project_options()
def command(
    target: Target, worker: str | None, newest: int, *, is_of_running: bool, is_of_events: bool, as_json: bool
) -> None:
    """List the worker processes on all machines that consume from queues of the project, or the one with an ID.

    An ID is HOST:PID, or PID alone. A worker that has been silent for 15 seconds leaves the list; stderr names it
    for 15 minutes. What runs is as of the last sign of each worker, up to 5 seconds ago.
    """
    if is_of_events:
        if worker is None:
            raise click.UsageError("--events is of one worker: give its ID, HOST:PID or PID; 'tasuki workers' has both")
        show_events(loop.run(events_of(target.load(), worker, newest)), as_json=as_json)
        return
    rows = loop.run(_workers(target.load(), worker))
    if as_json:
        print_json(dated(rows, ("now", "started", "seen", "since")))
        return
    (_show_running if is_of_running else _show)(rows)


async def _workers(app: App, id: str | None) -> list[dict[str, Any]]:
    from tasuki.app.state.finding import states_there
    from tasuki.app.state.workers import Crew, crew_of

    async with app._runtime.reading():
        assert app._runtime.assembly is not None
        states = app._runtime.assembly.states_of_queues()
        if not states:
            raise UnsupportedError(
                "no queue of this project has a state that processes share: give the driver, or a queue, a store "
                "(state: …)"
            )
        crews = [await crew_of(state) for state in await states_there(app._runtime.assembly) if state in states]
        names = {(queue.driver.name, queue.spec.name) for queue in app._runtime.assembly.queues.values()}
        crews = [Crew(crew.now, _ours(crew.alive, names), _ours(crew.lost, names)) for crew in crews]
        found = [(worker, crew.now) for crew in crews for worker in crew.alive if id is None or is_named(worker, id)]
        if id is not None and not found:
            raise CommandError(f"no worker with the id {id!r}; 'tasuki workers' lists host and pid: give HOST:PID")
        if id is None:
            _warn_of_lost(crews)
        found.sort(key=lambda each: (each[0].host, each[0].started, each[0].pid))
        return [_row(worker, now) for worker, now in found]


def _ours(workers: list[Presence], names: set[tuple[str, str]]) -> list[Presence]:
    """The ones with queues of this project, or with unlisted ones; ``names``: driver and queue at the broker."""
    return [
        worker
        for worker in workers
        if worker.unlisted.consumers or any((each.driver, each.queue) in names for each in worker.consumers)
    ]


def _warn_of_lost(crews: list[Crew]) -> None:
    alive = [worker for crew in crews for worker in crew.alive]
    for crew in crews:
        for worker in crew.lost:
            if not any(map(worker.is_process, alive)):
                click.echo(escape(worker.alarm(crew.now)), err=True)


def _row(worker: Presence, now: float) -> dict[str, Any]:
    import msgspec

    from tasuki.state.worker_record import as_of_sign

    counts: dict[str, Any] = {"running": worker.running, "done": worker.done, "failed": worker.failed}
    counts["condition"] = worker.condition(now)
    times = {"now": now, "up": max(now - worker.started, 0.0), "seen_ago": max(now - worker.seen, 0.0)}
    return {**msgspec.to_builtins(as_of_sign(worker, now)), **counts, **times}
