"""``tasuki redrive``: dead letters go back to where they came from."""

from __future__ import annotations

from typing import Any

import click

from tasuki.cli import loop
from tasuki.cli.options import printing, project_options
from tasuki.cli.output import count
from tasuki.cli.progress import bar
from tasuki.cli.project import Target, find_queue
from tasuki.cli.tools.message import choice_of
from tasuki.cli.tools.queues import looking_at


def _show(done: dict[str, Any]) -> None:
    way = f"to {done['to']}" if done["to"] else "back"
    verb = "would be sent" if done["is_dry_run"] else "sent"
    click.echo(f"{count(done['moved'], 'message')} of {done['queue']} {verb} {way}")
    if done["stayed"] > 0 and not done["is_dry_run"]:
        why = ", not chosen, or" if done["is_chosen"] else ","
        click.echo(f"{count(done['stayed'], 'message')} stayed{why} from no queue of this project; use --to", err=True)


@click.command("redrive")
@click.argument("dead_letters", metavar="DLQ")
@click.option("--to", metavar="QUEUE", help="Send them there instead.")
@click.option("--limit", type=click.IntRange(min=1), help="Most messages to send.")
@click.option("--where", default="", metavar="EXPR", help="Only messages that it holds for; see tasuki dead.")
@click.option("--id", "ids", multiple=True, metavar="ID", help="Only this message; may be repeated.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="At most N messages a second.")
@click.option("--dry-run", is_flag=True, help="Send nothing; say how many messages would be sent.")
@printing(_show)
@project_options()
def command(target: Target, dead_letters: str, to: str | None, limit: int | None, **chosen: Any) -> dict[str, Any]:
    """Send the messages of DLQ back, each as it was first published: to its original queue, or --to another.

    A message leaves DLQ only when the other queue has it. Messages whose original queue is not in this project stay.
    A limit of DLQ holds here too: if it hands out no more, the command says how many stay, and ends with 1.
    """
    app = target.load()
    project = app.check()
    source = find_queue(project, dead_letters)
    destination = find_queue(project, to) if to else None
    is_chosen = bool(choice_of(chosen["where"], chosen["ids"]))

    async def redrive() -> dict[str, Any]:
        async with app.reading():
            queue = app.live_queue(source)
            with looking_at(source):
                depth = await queue.depth()
            wanted = depth.ready if limit is None else min(depth.ready, limit)
            with bar(wanted, "redriving") as advance:
                moved = await app.redrive(source, to=destination, limit=limit, progress=advance, **chosen)
            is_counted = depth.is_estimate and limit is None and not chosen["dry_run"]
            stayed = (await queue.depth()).ready if is_counted else wanted - moved
            return {
                "queue": source,
                "to": destination,
                "moved": moved,
                "stayed": stayed,
                "is_chosen": is_chosen,
                "is_dry_run": chosen["dry_run"],
            }

    return loop.run(redrive())
