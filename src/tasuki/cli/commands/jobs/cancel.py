"""``tasuki cancel``: messages that must not run, or must not go on running."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import msgspec

from tasuki.cli import loop
from tasuki.cli.exits import CommandError
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import count, print_json
from tasuki.cli.project import Target, find_queue, refuse_all_private
from tasuki.cli.tools.control.acting import acting, ids_text


@click.command("cancel")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--queue", metavar="QUEUE", help="The queue of the messages; default: search all that are consumed.")
@click.option("--file", "path", type=click.Path(dir_okay=False, allow_dash=True), help="One id a line; - is stdin.")
@json_option
@project_options()
def command(target: Target, ids: tuple[str, ...], queue: str | None, path: str | None, *, as_json: bool) -> None:
    """Cancel the messages with these IDs: they do not start any more, and their handlers are interrupted.

    Prints where each was: waiting, running or not found; or requested, where the broker cannot remove it by its id.
    Nothing brings a cancelled message back for 7 days: no retry, redrive or restart.
    """
    wanted = list(dict.fromkeys([*ids, *(_lines(path) if path is not None else ())]))
    if not wanted:
        raise click.UsageError("give an ID, or --file")
    if queue is None and len(wanted) > 1:
        raise click.UsageError("several messages are cancelled in one queue: give --queue")
    app = target.load()
    project = app.check()
    refuse_all_private(project)
    id = None if queue is None else find_queue(project, queue)

    async def cancel() -> dict[str, Any]:
        async with app._runtime.briefly(), acting(app, "cancel", id or "*", id or "") as outcome:
            outcome.filter, outcome.count = ids_text(wanted), len(wanted)
            if len(wanted) == 1:
                outcome.result = found = await app.jobs.cancel(wanted[0], queue=id)
                return {"id": wanted[0], "outcome": found}
            assert id is not None
            counts = dict(msgspec.to_builtins(await app.jobs.cancel_many(wanted, queue=id)))
            outcome.result = ", ".join(_parts(counts))
            return counts

    found = loop.run(cancel())
    if as_json:
        print_json(found)
    elif "outcome" in found:
        click.echo(found["outcome"])
    else:
        click.echo(f"{count(len(wanted), 'message')}: {', '.join(_parts(found))}")


def _parts(counts: dict[str, Any]) -> list[str]:
    return [f"{counts[name]} {name.replace('_', ' ')}" for name in counts if counts[name]]


def _lines(path: str) -> Iterator[str]:
    try:
        with click.open_file(path, encoding="utf-8") as file:
            yield from (line for text in file if (line := text.strip()))
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {path}: {error}") from error
