"""``tasuki redrive``, ``discard`` and ``batches``: acts on many dead letters, and their batches."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.acting import acting, ids_text, looking_at
from tasuki.cli.commands.queues.removal import confirm
from tasuki.cli.exits import CommandError
from tasuki.cli.message import choice_of
from tasuki.cli.options import printing, project_options
from tasuki.cli.output import age, bar, count, is_terminal, print_pairs, print_table
from tasuki.cli.project import Target, find_queue, is_shared, refuse_all_private
from tasuki.dead.batch import CANARY, FIRST, RATE, RIGHTS
from tasuki.errors import BatchStateError
from tasuki.queues.policy import driver_limits

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.dead.batch import Act, Batch
    from tasuki.dead.selection import Choice
    from tasuki.kinds.check.project import Project
    from tasuki.queues.queue import Queue


BACKGROUND = "Leave it to the workers, which go on without this command."


def can_begin(app: App, queue: str) -> bool:
    """Whether a batch of this queue's letters can be kept where other processes see it; of an open app."""
    live = app._runtime.live()
    state = live.state_of(queue)
    return state is not None and is_shared(live.project.driver_of(queue)) and state.driver.capabilities.multi_process


async def in_a_batch(app: App, act: Act, queue: str, label: str, *, background: bool, **options: Any) -> Batch:
    """Begin a batch, and follow it to its end, unless it is left to the workers. Raises as ``follow``."""
    async with acting(app, RIGHTS[act], queue, queue) as outcome:
        outcome.filter = " ".join(filter(None, (options["where"], ids_text(options["ids"]))))
        batch = await app.dead.batches.begin(act, queue, drive=not background, **options)
        outcome.batch = batch.id
        if not background:
            batch = await follow(app, batch, label)
            outcome.count = batch.done
    return batch


async def follow(app: App, batch: Batch, label: str) -> Batch:
    """Wait until a batch ends or stands still, with a bar. Ctrl-C pauses it, and says how to go on.

    Raises:
        CommandError: it has failed, or its canary has stopped it.
    """
    try:
        with bar(batch.total or batch.there or 0, label) as advance:
            batch = await app.dead.batches.wait(batch.id, lambda now: advance(now.undone if now.is_back else now.done))
    except asyncio.CancelledError:
        await asyncio.shield(_pause(app, batch.id))
        raise
    if batch.state in ("failed", "stopped"):
        raise CommandError(f"batch {batch.id} {batch.state}: {batch.problem}; {_counts(batch)}. {_next(batch)}")
    return batch


async def _pause(app: App, id: str) -> None:
    batch = await app.dead.batches.get(id)
    if batch.state == "undoing":
        click.echo(f"\nbatch {id}: {_counts(batch)}; the undo is left to the workers. {_next(batch)}", err=True)
        return
    with suppress(BatchStateError):
        batch = await app.dead.batches.pause(id)
        click.echo(f"\npaused batch {id}: {_counts(batch)}. {_next(batch)}", err=True)


def _next(batch: Batch) -> str:
    if batch.is_back or batch.state == "undoing":
        return f"tasuki batches {batch.id} --undo goes on"
    undo = f", tasuki batches {batch.id} --undo takes back what still waits" if batch.kept else ""
    return f"tasuki batches {batch.id} --resume goes on{undo}"


def _counts(batch: Batch) -> str:
    parts = [f"undone {batch.undone} of {batch.done}" if batch.is_back else f"{batch.done} done"]
    parts += [f"{batch.unsure} of them not known yet"] if batch.unsure and not batch.is_driven else []
    parts += [f"{batch.returned} failed again"] if batch.returned else []
    parts += [] if not batch.left else [f"{batch.left} left"]
    return ", ".join(parts)


def show_begun(done: dict[str, Any]) -> None:
    """Say that a batch was left to the workers."""
    click.echo(f"batch {done['batch']} is left to the workers; tasuki batches {done['batch']} shows it")


def show_end(batch: dict[str, Any]) -> None:
    """Say what a batch has done."""
    if batch["state"] == "undone":
        started = f"; {batch['started']} have started, or are gone" if batch["started"] else ""
        click.echo(f"undone {batch['undone']:,} of {batch['done']:,}{started}")
        if batch["problem"]:
            click.echo(batch["problem"], err=True)
        return
    if batch["returned"]:
        click.echo(f"{count(batch['returned'], 'message')} failed again", err=True)
    if missing := _missing(batch):
        click.echo(f"of the ids of --id, {missing:,} waited there no more, or were not chosen by --where", err=True)
    if batch["gone"]:
        click.echo(f"{count(batch['gone'], 'message')} had gone: another process was faster", err=True)
    if batch["unclear"]:
        click.echo(f"{count(batch['unclear'], 'message')} not judged: --where cannot be asked about them", err=True)
    if batch["stayed"]:
        why = batch["problem"] or "from no queue of this project, or none that it may publish to; use --to"
        click.echo(f"{count(batch['stayed'], 'message')} stayed: {why}", err=True)
    if batch["can_undo"] and is_terminal(sys.stderr):
        until = " within 15 minutes" if batch["act"] == "delete" else ", as long as they wait"
        click.echo(f"tasuki batches {batch['id']} --undo takes them back{until}", err=True)


def _missing(batch: dict[str, Any]) -> int:
    """How many of the chosen ids had no letter that the batch could move."""
    if not batch["ids"] or batch["state"] != "done" or batch["limit"]:
        return 0
    return max(0, int(batch["ids"] - batch["done"] - batch["gone"] - batch["stayed"] - batch["unclear"]))


def show_one(batch: dict[str, Any]) -> None:
    """All that is known of a batch."""
    shown = {name: value for name, value in batch.items() if value not in (None, "", 0, False) or name == "done"}
    for name in ("begun", "ended"):
        if batch[name] is not None:
            shown[name] = f"{datetime.fromtimestamp(batch[name], UTC):%Y-%m-%dT%H:%M:%SZ}"
    if batch["group"]:
        shown["group"] = f"{batch['group']['by']} {batch['group']['key']}"
    print_pairs(shown)


def _show_redrive(done: dict[str, Any]) -> None:
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
@printing(_show_redrive, "begun", "ended")
@project_options()
def redrive_command(
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
    _refuse_source(project, source, destination)
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


def _refuse_source(project: Project, id: str, to: str | None) -> None:
    """The queue whose letters are meant is easily named in the place of its dead-letter queue."""
    from tasuki.dead.reading import letters_meant

    if to is None and (letters := letters_meant(project, id)):
        raise CommandError(
            f"queue {id!r} is no dead-letter queue, so its messages came from no other queue; its dead letters are in "
            f"{letters}: tasuki redrive {letters}; or name a queue for them: --to"
        )


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


def _show_discard(done: dict[str, Any]) -> None:
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
@printing(_show_discard, "begun", "ended")
@project_options()
def discard_command(
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


_COLUMNS = ("ID", "ACT", "STATE", "DONE", "AGAIN", "LEFT", "AGE", "ACTOR", "QUEUE")


def _show_batches(done: Any) -> None:
    if isinstance(done, dict):
        if "batch" in done:
            show_begun(done)
        elif done.get("is_followed"):
            show_end(done)
        else:
            show_one(done)
        return
    if not done:
        click.echo("no batches in the last day")
        return
    print_table(_COLUMNS, [_row(each) for each in done])


def _row(batch: dict[str, Any]) -> list[Any]:
    names = ("id", "act", "state", "done", "returned", "left")
    return [*(batch[name] for name in names), age(time.time() - batch["begun"]), batch["actor"], batch["queue"]]


@click.command("batches")
@click.argument("id", required=False)
@click.option("--pause", "order", flag_value="pause", help="Let it stand still.")
@click.option("--resume", "order", flag_value="resume", help="Let it go on; one that its canary stopped without it.")
@click.option("--cancel", "order", flag_value="cancel", help="End it; what it has moved stays where it is.")
@click.option("--undo", "order", flag_value="undo", help="End it, and take back what still waits.")
@click.option("--background", is_flag=True, help=BACKGROUND)
@printing(_show_batches, "begun", "ended")
@project_options()
def batches_command(target: Target, id: str | None, order: str | None, background: bool) -> Any:
    """Show the last ten batches, begun by redrive and discard, by the desk or by code; or the one with this ID.

    --resume and --undo wait until it ends, and go on themselves if no worker does; Ctrl-C pauses it.
    """
    if order is not None and id is None:
        raise click.UsageError(f"say which batch to {order}: tasuki batches ID --{order}")
    if background and order not in ("resume", "undo"):
        raise click.UsageError("--background is for --resume and --undo")
    app = target.load()
    refuse_all_private(app.check())

    async def work() -> Any:
        async with app._runtime.reading():
            if id is None:
                return [batch.as_dict() for batch in await app.dead.batches.list()]
            if order is None:
                return (await app.dead.batches.get(id)).as_dict()
            options = {"drive": not background} if order in ("resume", "undo") else {}
            batch = await app.dead.batches.get(id)
            async with acting(app, "batch", batch.queue, batch.queue) as outcome:
                outcome.batch, outcome.filter = id, order
                batch = await getattr(app.dead.batches, order)(id, **options)
                if background and options:
                    return {"batch": id, "state": batch.state}
                if options:
                    batch = await follow(app, batch, "undoing" if order == "undo" else batch.act)
                outcome.count = batch.undone if order == "undo" else batch.done
            return batch.as_dict() | {"is_followed": bool(options)}

    return loop.run(work())
