"""``tasuki batches``: acts on many dead letters, and how far each of them is."""

from __future__ import annotations

import time
from typing import Any

import click

from tasuki.cli import loop
from tasuki.cli.options import printing, project_options
from tasuki.cli.output import age, print_table
from tasuki.cli.project import Target, refuse_all_private
from tasuki.cli.tools.control.acting import acting
from tasuki.cli.tools.control.batches import BACKGROUND, follow, show_begun, show_end, show_one

_COLUMNS = ("ID", "ACT", "STATE", "DONE", "AGAIN", "LEFT", "AGE", "ACTOR", "QUEUE")


def _show(done: Any) -> None:
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
@printing(_show, "begun", "ended")
@project_options()
def command(target: Target, id: str | None, order: str | None, background: bool) -> Any:
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
