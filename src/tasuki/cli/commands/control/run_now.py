"""``tasuki run-now``: publish the message of a schedule now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.options import printing, project_options
from tasuki.cli.project import Target
from tasuki.cli.tools.control.acting import acting

if TYPE_CHECKING:
    from tasuki.app import App


def _show(done: dict[str, Any]) -> None:
    click.echo(f"published {done['id']} to {done['queue']}")


@click.command("run-now")
@click.argument("schedule")
@printing(_show)
@project_options()
def command(target: Target, schedule: str) -> dict[str, Any]:
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
