"""``tasuki workers``: the worker processes on all machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import age, print_json, print_table
from tasuki.cli.project import Target
from tasuki.errors import UnsupportedError

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
@click.option("--running", "is_of_running", is_flag=True, help="Show the messages whose handlers run now.")
@json_option
@project_options()
def command(target: Target, *, is_of_running: bool, as_json: bool) -> None:
    """List the worker processes on all machines that consume from queues of the project.

    A worker that was killed is gone from the list after 15 seconds.
    """
    rows = loop.run(_workers(target.load()))
    show = print_json if as_json else _show_running if is_of_running else _show
    show(rows)


async def _workers(app: App) -> list[dict[str, Any]]:
    async with app.reading():
        assert app.assembly is not None
        states = app.assembly.states_of_queues()
        if not states:
            raise UnsupportedError(
                "no queue of this project has a state that processes share: give the driver, or a queue, a store "
                "(state: …)"
            )
        now = {state.driver.name: await (await state.store()).time() for state in states}
        latest = max(now.values())
        return [_row(worker, latest) for worker in await app.workers()]


def _row(worker: Presence, now: float) -> dict[str, Any]:
    import msgspec

    counts = {"running": worker.running, "done": worker.done, "failed": worker.failed}
    times = {"now": now, "up": max(now - worker.started, 0.0), "seen_ago": max(now - worker.seen, 0.0)}
    return {**msgspec.to_builtins(worker), **counts, **times}
