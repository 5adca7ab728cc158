"""``tasuki schedules`` and ``run-now``: the schedules, and a message of one now."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from tasuki.cli import loop
from tasuki.cli.acting import acting
from tasuki.cli.options import printing, project_options
from tasuki.cli.output import moment, print_table
from tasuki.cli.project import Target

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.schedules.statuses import ScheduleStatus


_MOST_NAMED = 10
"""Schedules that a warning names."""


def _show_schedules(rows: list[dict[str, Any]]) -> None:
    headings = ("SCHEDULE", "WHEN", "QUEUE", "NEXT", "LAST", "STATE")
    now = time.time()
    print_table(headings, [tuple(_cell(row, name, now) for name in map(str.lower, headings)) for row in rows])


def _cell(row: dict[str, Any], name: str, now: float) -> object:
    value = row[name]
    if name not in ("next", "last") or value is None:
        return value
    return moment(datetime.fromisoformat(value), now, UTC if row["timezone"] == "UTC" else ZoneInfo(row["timezone"]))


@click.command("schedules")
@printing(_show_schedules)
@project_options()
def schedules_command(target: Target) -> list[dict[str, Any]]:
    """List the schedules of the project, with the times of their next and last messages, each in its time zone."""
    statuses = loop.run(_statuses(target.load()))
    on = [status for status in statuses if status.is_enabled]
    if unknown := [status.id for status in on if not status.is_known]:
        click.echo(f"no worker has seen {_names(unknown)} yet, so nothing is due; start one: tasuki run", err=True)
    if late := [status.id for status in on if status.is_late]:
        click.echo(f"{_names(late)}: late; start a worker (tasuki run), or see in its log what it waits for", err=True)
    return [_row(status) for status in statuses]


async def _statuses(app: App) -> list[ScheduleStatus]:
    async with app._runtime.reading():
        return await app.schedules.list()


def _row(status: ScheduleStatus) -> dict[str, Any]:
    state = f"paused {status.pause}" if status.pause is not None else _on(status)
    return {
        "schedule": status.id,
        "when": status.timing,
        "queue": status.queue,
        "timezone": status.timezone,
        "next": _time(status.next),
        "last": _time(status.last),
        "state": state,
    }


def _on(status: ScheduleStatus) -> str:
    if not status.is_enabled:
        return "off"
    return "late" if status.is_late else "on" if status.is_known else "new"


def _names(ids: list[str]) -> str:
    return ", ".join(ids[:_MOST_NAMED]) + (f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else "")


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _show_run_now(done: dict[str, Any]) -> None:
    click.echo(f"published {done['id']} to {done['queue']}")


@click.command("run-now")
@click.argument("schedule")
@printing(_show_run_now)
@project_options()
def run_now_command(target: Target, schedule: str) -> dict[str, Any]:
    """Publish the message of SCHEDULE now, also if it is paused or off; its own times stay as they are."""
    from tasuki.app.schedules.statuses import find_schedule
    from tasuki.kinds.entries.schedule import ScheduleConfig

    app = target.load()
    project = app.check()
    id = find_schedule(project, schedule)
    queue = project.of(ScheduleConfig)[id].queue
    return {"schedule": id, "queue": queue, "id": loop.run(_publish(app, id, queue))}


async def _publish(app: App, schedule: str, queue: str) -> str:
    async with app._runtime.briefly(), acting(app, "run", schedule, queue) as outcome:
        message = await app.schedules.run_now(schedule)
        outcome.count, outcome.result = 1, f"published {message}"
        return message
