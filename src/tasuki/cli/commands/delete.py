"""``tasuki delete``: remove a queue from its broker."""

from __future__ import annotations

import click

from tasuki.cli import loop
from tasuki.cli.asking import confirm
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import count, print_json
from tasuki.cli.project import Target, find_queue, looking_at


@click.command("delete")
@click.argument("queue")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@project_options()
def command(target: Target, queue: str, *, yes: bool, as_json: bool) -> None:
    """Delete QUEUE at its broker with all its messages, those that consumers hold too. There is no way back.

    Stop its workers and publishers first: a process that still declares the queue makes it again.
    """
    app = target.load()
    id = find_queue(app.check(), queue)

    async def delete() -> int:
        async with app.reading():
            live = app.live_queue(id)
            with looking_at(id):
                info = await live.info()
            messages, consumers = info["message_count"], info["consumer_count"]
            if not yes:
                used = f", from which {count(consumers, 'consumer')} still receive," if consumers else ""
                confirm(f"Delete queue {id}{used} with {count(messages, 'message')} permanently?")
            await live.delete()
        return int(messages)

    deleted = loop.run(delete())
    if as_json:
        print_json({"queue": id, "deleted": deleted})
    else:
        click.echo(f"{id} deleted with {count(deleted, 'message')}")
