"""``tasuki purge``: empty a queue."""

from __future__ import annotations

import click

from tasuki.cli import loop
from tasuki.cli.asking import confirm
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import count, print_json
from tasuki.cli.project import Target, find_queue, looking_at


@click.command("purge")
@click.argument("queue")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@project_options()
def command(target: Target, queue: str, *, yes: bool, as_json: bool) -> None:
    """Remove all messages of QUEUE that no consumer holds. There is no way back."""
    app = target.load()
    id = find_queue(app.check(), queue)

    async def purge() -> int:
        async with app.reading():
            live = app.live_queue(id)
            with looking_at(id):
                depth = await live.depth()
            if not yes:
                about = "about " if depth.is_estimate else ""
                confirm(f"Remove {about}{count(depth.ready + depth.delayed, 'message')} from {id} permanently?")
            return await live.purge()

    purged = loop.run(purge())
    if as_json:
        print_json({"queue": id, "purged": purged})
    else:
        click.echo(f"{count(purged, 'message')} removed from {id}")
