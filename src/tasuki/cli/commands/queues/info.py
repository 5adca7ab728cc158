"""``tasuki info``: the counts of one queue."""

from __future__ import annotations

from typing import Any

import click

from tasuki.cli import loop
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import age, print_json, print_pairs
from tasuki.cli.project import Target, find_queue, looking_at


@click.command("info")
@click.argument("queue")
@json_option
@project_options()
def command(target: Target, queue: str, *, as_json: bool) -> None:
    """Show how many messages QUEUE holds, and how many consumers work on it."""
    app = target.load()
    id = find_queue(app.check(), queue)

    async def look() -> dict[str, Any]:
        async with app.reading():
            with looking_at(id):
                return await app.live_queue(id).info()

    info = loop.run(look())
    if as_json:
        print_json(info)
    else:
        print_pairs({**info, "oldest_age": age(info["oldest_age"])})
