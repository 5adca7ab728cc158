"""``tasuki schedules``: all schedules, and when they publish."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from tasuki.cli import loop
from tasuki.cli.options import printing, project_options
from tasuki.cli.output import moment, print_table
from tasuki.cli.project import Target

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.schedules.status import ScheduleStatus


_MOST_NAMED = 10
"""Schedules that a warning names."""


def _show(rows: list[dict[str, Any]]) -> None:
    headings = ("SCHEDULE", "WHEN", "QUEUE", "NEXT", "LAST", "STATE")
    now = time.time()
    print_table(headings, [tuple(_cell(row, name, now) for name in map(str.lower, headings)) for row in rows])


def _cell(row: dict[str, Any], name: str, now: float) -> object:
    value = row[name]
    if name not in ("next", "last") or value is None:
        return value
    return moment(datetime.fromisoformat(value), now, UTC if row["timezone"] == "UTC" else ZoneInfo(row["timezone"]))


@click.command("schedules")
@printing(_show)
@project_options()
def command(target: Target) -> list[dict[str, Any]]:
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
