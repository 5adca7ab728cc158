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
from tasuki.observe.events import NEWEST

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.state.presence import Presence

_HEADINGS = ("HOST", "PID", "VERSION", "UP", "SEEN", "RUNNING", "DONE", "FAILED", "CONSUMERS")


def _show(rows: list[dict[str, Any]]) -> None:
    if not rows:
        click.echo("no worker runs; start one: tasuki run", err=True)
        return
    print_table(_HEADINGS, [_cells(row) for row in rows])


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ", ".join(consumer["id"] for consumer in row["consumers"])
    left_out = f" … and {row['left_out']} more" if row["left_out"] else ""
    counts = (row["running"], row["done"], row["failed"])
    return (
        row["host"],
        row["pid"],
        row["version"],
        age(row["up"]),
        f"{age(row['seen_ago'])} ago",
        *counts,
        names + left_out,
    )


def _show_running(rows: list[dict[str, Any]]) -> None:
    running = [
        (
            row["host"],
            row["pid"],
            consumer["id"],
            message["function"],
            message["id"],
            age(row["now"] - message["since"]),
        )
        for row in rows
        for consumer in row["consumers"]
        for message in consumer["messages"]
    ]
    print_table(("HOST", "PID", "CONSUMER", "FUNCTION", "MESSAGE", "FOR"), running)


@click.command("workers")
@click.argument("worker", required=False, metavar="[ID]")
@click.option("--events", "is_of_events", is_flag=True, help="Show what happened lately to the messages of worker ID.")
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

    An ID is HOST:PID, or PID alone. A worker that was killed is gone from the list after 15 seconds.
    """
    if is_of_events:
        if worker is None:
            raise click.UsageError("--events is of one worker: give its ID, HOST:PID or PID; 'tasuki workers' has both")
        show_events(loop.run(events_of(target.load(), worker, newest)), as_json=as_json)
        return
    rows = loop.run(_workers(target.load(), worker))
    show = print_json if as_json else _show_running if is_of_running else _show
    show(rows)


async def _workers(app: App, id: str | None) -> list[dict[str, Any]]:
    async with app.reading():
        assert app.assembly is not None
        states = app.assembly.states_of_queues()
        if not states:
            raise UnsupportedError(
                "no queue of this project has a state that processes share: give the driver, or a queue, a store "
                "(state: …)"
            )
        workers = await app.workers()
        opened = [store for state in states if (store := state.opened) is not None]
        latest = max([await store.time() for store in opened], default=0.0)
        found = [worker for worker in workers if id is None or is_named(worker, id)]
        if id is not None and not found:
            raise CommandError(f"no worker with the id {id!r}; 'tasuki workers' lists host and pid: give HOST:PID")
        return [_row(worker, latest) for worker in found]


def _row(worker: Presence, now: float) -> dict[str, Any]:
    import msgspec

    counts = {"running": worker.running, "done": worker.done, "failed": worker.failed}
    times = {"now": now, "up": max(now - worker.started, 0.0), "seen_ago": max(now - worker.seen, 0.0)}
    return {**msgspec.to_builtins(worker), **counts, **times}
