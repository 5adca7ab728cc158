"""``tasuki resume``: end a pause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.options import printing, project_options
from tasuki.cli.project import Target
from tasuki.cli.tools.control.pausing import on_target, pause_text

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.state import pausing
    from tasuki.state.pauses import Pause


def _show(done: dict[str, Any]) -> None:
    what = f"{done['kind']} {done['id']}"
    was = f"; it was paused {pause_text(done['was'])}" if done["was"] is not None else ""
    click.echo(f"{what} is resumed{was}" if was else f"{what} was not paused")


@click.command("resume")
@click.argument("name", metavar="QUEUE|CONSUMER|SCHEDULE")
@printing(_show, "at", "until")
@project_options()
def command(target: Target, name: str) -> dict[str, Any]:
    """End the pause of a queue, a consumer or a schedule."""

    async def resume(app: App, found: pausing.Target) -> Pause | None:
        return await app.workers.resume(found.id)

    found, was = on_target(target, name, resume, "resume")
    return {"kind": found.kind, "id": found.id, "was": None if was is None else was.as_dict()}
