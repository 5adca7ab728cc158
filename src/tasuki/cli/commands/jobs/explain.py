"""``tasuki explain``: why a message does not run now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tasuki.cli import loop
from tasuki.cli.exits import ERROR
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import print_json
from tasuki.cli.project import Target, find_queue, is_shared, refuse_all_private

if TYPE_CHECKING:
    from tasuki.app.explain.rule import Explanation


@click.command("explain")
@click.argument("id")
@click.option("--queue", metavar="QUEUE", help="The queue of the message; default: search all.")
@json_option
@project_options()
@click.pass_context
def command(ctx: click.Context, target: Target, id: str, *, queue: str | None, as_json: bool) -> None:
    """Say why the message ID does not run now: the first cause, then the others, each with what changes it.

    Looks through the first 10,000 waiting messages, and asks the workers. Ends with 1 if no message is found, also
    where its broker does not show messages and nothing else reports it. Without --queue an unavailable broker does not
    end the search.
    """
    from tasuki.app.explain.looking import explain_in, search
    from tasuki.kinds.entries.queue import QueueConfig

    app = target.load()
    project = app.check()
    refuse_all_private(project)
    one = None if queue is None else find_queue(project, queue)
    shared = [each for each in project.of(QueueConfig) if is_shared(project.driver_of(each))]

    async def look() -> Explanation:
        async with app._runtime.reading():
            live = app._runtime.live()
            return await (
                search(live, app._runtime.clock, shared, id)
                if one is None
                else explain_in(live, app._runtime.clock, one, id)
            )

    found = loop.run(look())
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(found))
    else:
        _show(found)
    if not found.found:
        ctx.exit(ERROR)


def _show(found: Explanation) -> None:
    click.echo(f"{found.queue or 'no queue'} · {found.id}")
    for cause in found.causes:
        click.echo(f"- {cause.text}")
        if cause.act:
            click.echo(f"  → {cause.act}")
