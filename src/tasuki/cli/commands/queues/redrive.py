"""``tasuki redrive``: dead letters go back to where they came from."""

from __future__ import annotations

import click

from tasuki.cli import loop
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import count, print_json
from tasuki.cli.progress import bar
from tasuki.cli.project import Target, find_queue, looking_at


@click.command("redrive")
@click.argument("dead_letters", metavar="DLQ")
@click.option("--to", metavar="QUEUE", help="Send them there instead.")
@click.option("--limit", type=click.IntRange(min=1), help="Most messages to send.")
@json_option
@project_options()
def command(target: Target, dead_letters: str, to: str | None, limit: int | None, *, as_json: bool) -> None:
    """Send the messages of DLQ back, each as it was first published: to its original queue, or --to another.

    A message leaves DLQ only when the other queue has it. Messages whose original queue is not in this project stay.
    """
    app = target.load()
    project = app.check()
    source = find_queue(project, dead_letters)
    destination = find_queue(project, to) if to else None

    async def redrive() -> tuple[int, int]:
        async with app.reading():
            with looking_at(source):
                depth = await app.live_queue(source).depth()
            wanted = depth.ready if limit is None else min(depth.ready, limit)
            with bar(wanted, "redriving") as advance:
                moved = await app.redrive(source, to=destination, limit=limit, progress=advance)
            if depth.is_estimate and limit is None:
                return moved, (await app.live_queue(source).depth()).ready
            return moved, wanted - moved

    moved, stayed = loop.run(redrive())
    if as_json:
        print_json({"queue": source, "to": destination, "moved": moved, "stayed": stayed})
        return
    click.echo(f"{count(moved, 'message')} of {source} sent {'to ' + destination if destination else 'back'}")
    if stayed > 0:
        click.echo(f"{count(stayed, 'message')} stayed, from no queue of this project; use --to", err=True)
