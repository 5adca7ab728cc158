"""``tasuki discard``: dead letters go to the trash, and are gone 15 minutes later."""

from __future__ import annotations

from typing import Any

import click

from tasuki.cli import loop
from tasuki.cli.exits import CommandError
from tasuki.cli.options import printing, project_options
from tasuki.cli.output import count
from tasuki.cli.project import Target, find_queue
from tasuki.cli.tools.control.batches import BACKGROUND, can_begin, in_a_batch, show_begun, show_end
from tasuki.cli.tools.message import choice_of
from tasuki.cli.tools.queues import looking_at
from tasuki.cli.tools.removing import confirm


def _show(done: dict[str, Any]) -> None:
    if "batch" in done:
        show_begun(done)
        return
    click.echo(f"{count(done['done'], 'message')} of {done['queue']} deleted")
    show_end(done)


@click.command("discard")
@click.argument("dead_letters", metavar="DLQ")
@click.option("--where", default="", metavar="EXPR", help="Only messages that it holds for; see tasuki dead.")
@click.option("--id", "ids", multiple=True, metavar="ID", help="Only this message; may be repeated.")
@click.option("--limit", type=click.IntRange(min=1), help="Most messages to delete.")
@click.option("--rate", type=click.FloatRange(min=0), default=0, metavar="N", help="At most N messages a second.")
@click.option("--background", is_flag=True, help=BACKGROUND)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@printing(_show, "begun", "ended")
@project_options()
def command(
    target: Target, dead_letters: str, where: str, ids: tuple[str, ...], yes: bool, background: bool, **chosen: Any
) -> dict[str, Any]:
    """Delete dead letters of DLQ, the oldest first: all of them, or those that --where and --id choose.

    For 15 minutes `tasuki batches ID --undo` brings them back, unless there are more than 10,000, or the broker cannot
    move a message in one step; the question says so.
    """
    from tasuki.dead.reading import sources_of

    app = target.load()
    project = app.check()
    source = find_queue(project, dead_letters)
    if source not in sources_of(project):
        raise CommandError(
            f"queue {source!r} is no dead-letter queue of this project, so its messages are no dead letters; 'tasuki "
            f"remove' and 'tasuki purge' remove messages that wait"
        )
    choice_of(where, ids)

    async def work() -> dict[str, Any]:
        from tasuki.dead.batches.planning import preview

        runtime, limit = app._runtime, chosen["limit"]
        async with runtime.reading():
            if not can_begin(app, source):
                raise CommandError(
                    f"queue {source!r} has no state, in which a batch is kept: write 'state: <id of a store>' at the "
                    "queue or at its driver"
                )
            with looking_at(source):
                queue = runtime.queue(source)
                seen = await preview(queue, runtime.clock, "delete", where=where, ids=ids, limit=limit)
            if not yes:
                which = "an unknown number of messages" if seen.count is None else count(seen.count, "message")
                end = "They can be brought back for 15 minutes." if seen.can_undo else "This cannot be undone."
                confirm(f"Delete {which} of {source}? {end}")
            batch = await in_a_batch(
                app, "delete", source, "deleting", where=where, ids=ids, background=background, **chosen
            )
            return {"batch": batch.id} if background else batch.as_dict()

    return loop.run(work())
