"""``tasuki pause``: all workers stop receiving from a queue or for a consumer, or a schedule publishes nothing."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.options import printing, project_options, read_time
from tasuki.cli.project import Target
from tasuki.cli.tools.control.pausing import on_target, pause_text

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.state import pausing
    from tasuki.state.pauses import Pause


def _show(done: dict[str, Any]) -> None:
    click.echo(f"{done['kind']} {done['id']} is paused {pause_text(done['paused'])}")


@click.command("pause")
@click.argument("name", metavar="QUEUE|CONSUMER|SCHEDULE")
@click.option("--for", "duration", metavar="TIME", help="End the pause after this time, as in 10m.")
@click.option("--until", metavar="WHEN", callback=read_time, help="End it then, as in 2026-12-24T18:00+09:00.")
@click.option("--reason", default="", help="Why, for those who see it.")
@printing(_show, "at", "until")
@project_options()
def command(target: Target, name: str, duration: str | None, until: datetime | None, reason: str) -> dict[str, Any]:
    """Let all workers stop receiving from a queue or for a consumer, or a schedule stop publishing.

    They follow within two seconds: running handlers end, prefetched messages go back. A worker that starts later starts
    paused. Without --for and --until the pause ends with `tasuki resume`.
    """
    if duration and until:
        raise click.UsageError("give --for or --until, not both")

    async def pause(app: App, found: pausing.Target) -> Pause:
        return await app.workers.pause(found.id, duration, until=until, reason=reason)

    asked = {"for": duration, "until": None if until is None else until.isoformat(), "reason:": reason}
    options = ", ".join(f"{name} {value}" for name, value in asked.items() if value)
    found, paused = on_target(target, name, pause, "pause", options=options)
    return {"kind": found.kind, "id": found.id, "paused": paused.as_dict()}
