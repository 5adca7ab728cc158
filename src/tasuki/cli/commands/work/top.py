"""``tasuki top``: queues, messages and workers in the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tasuki.cli import loop
from tasuki.cli.exits import UNREACHABLE, CommandError
from tasuki.cli.options import project_options
from tasuki.cli.output import UNKNOWN, age, is_terminal, print_table
from tasuki.cli.project import Target, refuse_all_private
from tasuki.cli.tools.held_logs import held_logs
from tasuki.observe.plain import escape

if TYPE_CHECKING:
    from tasuki.desk.reading.snapshot import QueueRow, Snapshot

_HEADINGS = ("QUEUE", "READY", "RUN", "DELAY", "DEAD", "OLDEST", "WORKERS", "DRIVER")


@click.command("top")
@click.option("--actor", default="", metavar="ID", help="Who acts, for policies and the log.  [default: user@host]")
@click.option("--ascii", "is_ascii", is_flag=True, help="Draw with ASCII characters alone.")
@click.option("--once", "is_once", is_flag=True, help="Print the queues once; also where the output is no terminal.")
@project_options(is_argument=True)
def command(target: Target, actor: str, *, is_ascii: bool, is_once: bool) -> None:
    """Show the queues, messages and workers of the project TARGET in this terminal, and act on them.

    '?' lists the keys, 'q' ends it. No message is handled here. Queues in memory are shown by their own process alone:
    'tasuki run --admin'.
    """
    app = target.load()
    project = app.check()
    refuse_all_private(project)
    from tasuki.system.extras import require_extra

    is_once = is_once or not is_terminal(sys.stdout)
    require_extra("top --once" if is_once else "top")
    from tasuki.top.running import follow, look_once

    if is_once:
        _print(loop.run(look_once(app, actor)))
        return
    if not is_terminal(sys.stdin) or not is_terminal(sys.stderr):
        raise CommandError("tasuki top reads keys and draws on a terminal, and stdin or stderr is none; use --once")
    with held_logs():
        loop.run(follow(app, project, actor=actor, is_ascii=is_ascii))


def _print(snapshot: Snapshot) -> None:
    from tasuki.desk.presentation.words import tell
    from tasuki.desk.reading.attention import of_workers

    print_table(_HEADINGS, [_cells(row) for row in snapshot.queues.values()])
    if 0 < len(snapshot.queues) == snapshot.uncounted:
        raise CommandError("; ".join(snapshot.problems) or "no queue could be read", code=UNREACHABLE)
    for notice in of_workers(snapshot):
        click.echo(escape(tell("en", notice.key, notice.values)), err=True)


def _cells(row: QueueRow) -> tuple[object, ...]:
    if row.depth is None:
        return (row.id, *[UNKNOWN] * 5, UNKNOWN, row.driver)
    sign = "~" if row.depth.is_estimate else ""
    dead = UNKNOWN if row.dead is None else row.dead
    workers = UNKNOWN if row.workers is None else row.workers
    delayed = UNKNOWN if row.delayed is None else f"{sign}{row.delayed}"
    oldest = age(row.oldest_age) if row.oldest_age else UNKNOWN
    running = f"{row.busy}/{row.places}" if row.knows_workers else UNKNOWN
    return (row.id, f"{sign}{row.ready}", running, delayed, dead, oldest, workers,
            row.driver)  # fmt: skip
