"""``tasuki queues``: all queues and how full they are."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import age, print_json, print_table
from tasuki.cli.project import Target, is_shared
from tasuki.errors import QueueNotFoundError

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.kinds.check.project import Project

_COUNTS = ("message_count", "ready", "in_flight", "delayed", "oldest_age")


@click.command("queues")
@json_option
@project_options()
def command(target: Target, *, as_json: bool) -> None:
    """List the queues of the project. Counts of memory queues and of queues that do not exist yet stay empty."""
    app = target.load()
    rows = loop.run(_look(app, app.check()))
    if as_json:
        print_json(rows)
        return
    shown = [(row["queue"], row["driver"], *_counts(row), age(row["oldest_age"])) for row in rows]
    print_table(("QUEUE", "DRIVER", "MESSAGES", "READY", "IN FLIGHT", "DELAYED", "OLDEST"), shown)


async def _look(app: App, project: Project) -> list[dict[str, Any]]:
    from tasuki.kinds.entries.queue import QueueConfig

    queues = project.of(QueueConfig)
    shared = {id for id in queues if is_shared(project.driver_of(id))}
    rows = []
    if not shared:
        return [_row(id, config.driver, {}) for id, config in queues.items()]
    async with app.reading():
        for id, config in queues.items():
            info = {}
            if id in shared:
                with suppress(QueueNotFoundError):  # its broker does not have it yet
                    info = await app.live_queue(id).info()
            rows.append(_row(id, config.driver, info))
    return rows


def _row(id: str, driver: str, info: dict[str, Any]) -> dict[str, Any]:
    about = {"is_estimate": True} if info.get("is_estimate") else {}
    return {"queue": id, "driver": driver, **{name: info.get(name) for name in _COUNTS}, **about}


def _counts(row: dict[str, Any]) -> list[Any]:
    return [f"~{row[name]}" if "is_estimate" in row else row[name] for name in _COUNTS[:-1]]
