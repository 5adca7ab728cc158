"""``tasuki redrive``: dead letters go back to where they came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.exits import CommandError
from tasuki.cli.options import printing, project_options
from tasuki.cli.output import count
from tasuki.cli.progress import bar
from tasuki.cli.project import Target, find_queue
from tasuki.cli.tools.control.acting import acting, ids_text
from tasuki.cli.tools.control.batches import BACKGROUND, can_begin, in_a_batch, show_begun, show_end
from tasuki.cli.tools.message import choice_of
from tasuki.cli.tools.queues import looking_at
from tasuki.dead.batch import CANARY, FIRST, RATE
from tasuki.queues.policy import driver_limits

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.dead.batch import Act
    from tasuki.dead.selection import Choice
    from tasuki.queues.queue import Queue


def _show(done: dict[str, Any]) -> None:
    way = f"to {done['to']}" if done["to"] else "back"
    if done["is_dry_run"]:
        which = "" if done["is_all"] else ", of the newest 10,000, or 256 MiB"
        click.echo(f"{count(done['moved'], 'message')} of {done['queue']} would be sent {way}{which}")
        if done["unclear"]:
            text = (
                f"{count(done['unclear'], 'message')} not judged: --where cannot be asked about them: {done['problem']}"
            )
            click.echo(text, err=True)
        return
    if done["moved"] is None:
        show_begun(done)
        return
    click.echo(f"{count(done['moved'], 'message')} of {done['queue']} sent {way}")
    if done["stayed"] > 0:
        why = ", not chosen, or" if done["is_chosen"] else ","
        click.echo(f"{count(done['stayed'], 'message')} stayed{why} from no queue of this project; use --to", err=True)
    if done["delayed"] != 0 and done["to"]:
        number = "delayed messages, if there are any," if done["delayed"] is None else f"{done['delayed']:,} delayed"
        text = f"{number} stayed: their broker shows none before it is due; run this command again then"
        click.echo(text, err=True)
    if "batch" in done:
        show_end({**done["of_batch"], "stayed": 0})


@click.command("redrive")
@click.argument("dead_letters", metavar="DLQ")
@click.option("--to", metavar="QUEUE", help="Send them there instead.")
@click.option("--limit", type=click.IntRange(min=1), help="Most messages to send.")
@click.option("--where", default="", metavar="EXPR", help="Only messages that it holds for; see tasuki dead.")
@click.option("--id", "ids", multiple=True, metavar="ID", help="Only this message, by its id or name; may be repeated.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    metavar="N",
    help=f"At most N messages a second; 0: as fast as possible.  [default: {RATE:g}]",
)
@click.option("--as-is", is_flag=True, help="With --to: keep the dead-letter headers.")
@click.option(
    "--canary",
    type=click.IntRange(0, 49),
    metavar="N",
    help=f"Of a batch: stop if more than N of its first {FIRST} fail again.  [default: {CANARY}]",
)
@click.option("--no-canary", is_flag=True, help="Do not stop then, and do not wait for it.")
@click.option("--background", is_flag=True, help=BACKGROUND)
@click.option("--dry-run", is_flag=True, help="Send nothing; say how many messages would be sent.")
@printing(_show, "begun", "ended")
@project_options()
def command(
    target: Target,
    dead_letters: str,
    to: str | None,
    limit: int | None,
    *,
    background: bool,
    **chosen: Any,
) -> dict[str, Any]:
    """Send the messages of DLQ back, each as it was first published: to its original queue, or --to another.

    Messages that are no dead letters keep their delays and attempts, so --to moves any queue, also to another broker.

    A message leaves DLQ only when the other queue has it. Messages whose original queue is not in this project stay.
    It is a batch, where DLQ has a state: Ctrl-C pauses it, and `tasuki batches` shows, resumes and undoes it.
    """
    chosen["rate"] = RATE if chosen["rate"] is None else chosen["rate"]
    app = target.load()
    project = app.check()
    source = find_queue(project, dead_letters)
    destination = find_queue(project, to) if to else None
    if chosen["as_is"] and destination is None:
        raise click.UsageError("--as-is is for letters that are sent --to another queue")
    choice = choice_of(chosen["where"], chosen["ids"])
    about = {"queue": source, "to": destination, "is_chosen": bool(choice), "is_dry_run": chosen["dry_run"]}

    async def redrive() -> dict[str, Any]:
        async with app._runtime.reading():
            with looking_at(source):
                await (queue := app._runtime.queue(source)).depth()
            if chosen["dry_run"]:
                return about | await _look(app, source, destination, limit, choice)
            if can_begin(app, source) and not driver_limits(queue.spec):  # a batch has its own rate
                if chosen["canary"] is not None and not queue.driver.capabilities.has("peek"):
                    problem = "is on a broker that shows no messages, so none can be seen to fail again"
                    raise CommandError(f"queue {source!r} {problem}: leave out --canary")
                return about | await _in_a_batch(app, source, destination, limit, chosen, background)
            problem = "has no state, in which a batch is kept, or has a limit, which holds for a redrive"
            if background or chosen["as_is"] or chosen["canary"] is not None:
                raise CommandError(f"queue {source!r} {problem}: leave out --background, --as-is and --canary")
            click.echo(
                f"queue {source!r} {problem}: this is no batch, so no canary stops it and nothing undoes it", err=True
            )
            return about | await _at_once(app, source, destination, limit, chosen)

    return loop.run(redrive())


async def _in_a_batch(
    app: App, source: str, to: str | None, limit: int | None, chosen: dict[str, Any], background: bool
) -> dict[str, Any]:
    options = {"to": to, "limit": limit, **{name: chosen[name] for name in ("where", "ids", "rate")}}
    canary = CANARY if chosen["canary"] is None else chosen["canary"]
    options["canary"] = None if chosen["no_canary"] else canary
    act: Act = "move" if chosen["as_is"] else "retry"
    batch = await in_a_batch(app, act, source, "redriving", background=background, **options)
    stayed = batch.stayed + batch.seen - batch.returned if batch.total is not None else batch.stayed
    moved = None if background else batch.done
    delayed = await _delayed(app._runtime.queue(source))
    return {"moved": moved, "stayed": stayed, "delayed": delayed, "batch": batch.id, "of_batch": batch.as_dict()}


async def _delayed(queue: Queue) -> int | None:
    """Delayed messages that a move leaves behind, as the driver does not show them; None: it does not count them."""
    if queue.driver.capabilities.has("transfer"):
        return 0
    depth = await queue.depth()
    return depth.delayed if queue.driver.capabilities.has("exact_depth") else depth.delayed or None


async def _at_once(app: App, source: str, to: str | None, limit: int | None, chosen: dict[str, Any]) -> dict[str, Any]:
    """Without a batch, where none can be kept."""
    from tasuki.dead.redrive import redrive

    queue, rate, target = (
        app._runtime.queue(source),
        chosen["rate"] or None,
        None if to is None else app._runtime.queue(to),
    )
    async with acting(app, "redrive", source, source) as outcome:
        outcome.filter = " ".join(filter(None, (chosen["where"], ids_text(chosen["ids"]))))
        asked = {"to": to, "limit": limit, "rate": rate}
        outcome.options = ", ".join(f"{name} {value}" for name, value in asked.items() if value)
        with bar(limit or (await queue.depth()).ready, "redriving") as advance:
            done = await redrive(
                app._runtime.live(), queue, target, limit, advance, clock=app._runtime.clock,
                where=chosen["where"], ids=chosen["ids"], rate=rate,
            )  # fmt: skip
        outcome.count = done.moved
    return {"moved": done.moved, "stayed": done.stayed + done.seen, "delayed": await _delayed(queue)}


async def _look(app: App, source: str, to: str | None, limit: int | None, choice: Choice) -> dict[str, Any]:
    """How many messages would be moved, and whether all were asked."""
    from tasuki.dead.redrive import would_move

    target = None if to is None else app._runtime.queue(to)
    found = await would_move(
        app._runtime.live(), app._runtime.queue(source), target, limit, choice, clock=app._runtime.clock
    )
    return {"moved": found.count, "is_all": found.is_all, "unclear": found.unclear, "problem": found.problem}
