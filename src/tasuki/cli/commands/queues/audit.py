"""``tasuki audit``: who did what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.options import printing, project_options
from tasuki.cli.output import print_table
from tasuki.cli.project import Target
from tasuki.errors import UnsupportedError
from tasuki.observe.plain import cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasuki.app import App
    from tasuki.app.assembly import Assembly

_HEADINGS = ("TIME", "ACTOR", "FROM", "ACT", "OPTIONS", "TARGET", "FILTER", "COUNT", "RESULT", "BATCH")
_MOST_TEXT = 80


def _show(rows: list[dict[str, Any]]) -> None:
    from tasuki.state.pauses import text_of_time

    if not rows:
        click.echo("nothing was changed here yet", err=True)
        return
    cells = [
        (text_of_time(row["time"]), *(_cell(row[name.lower()]) for name in _HEADINGS[1:])) for row in reversed(rows)
    ]
    print_table(_HEADINGS, cells)


def _cell(value: object) -> object:
    return cut(value, _MOST_TEXT) if isinstance(value, str) else value


@click.command("audit")
@click.option("-n", "--newest", type=click.IntRange(1, 1000), default=1000, help="Most acts to show; default: all.")
@printing(_show, "time")
@project_options()
def audit_command(target: Target, newest: int) -> list[dict[str, Any]]:
    """List the last 1,000 acts of people and programs on this project, the newest last; with --json the newest first.

    An act is a pause, a cancel, a redrive and the like, from the desk, its API or the command line. Each is kept for
    30 days, and shown to who has the right queue.admin.audit on what it was done to.
    """
    return loop.run(_acts(target.load(), newest))


async def _acts(app: App, newest: int) -> list[dict[str, Any]]:
    import msgspec

    from tasuki.app.state.auditing import acts_of, seen

    async with app._runtime.reading():
        live = app._runtime.live()
        if not live.states_of_queues():
            raise UnsupportedError(
                "no queue of this project has a state that processes share: give the driver, or a queue, a store "
                "(state: …)"
            )
        shown, _ = seen(await acts_of(live), _may(live))
        return [dict(msgspec.to_builtins(record)) for record in shown[:newest]]


def _may(live: Assembly) -> Callable[[str], bool]:
    """Which acts the application may see. Raises PolicyDeniedError: those on no entry."""
    from tasuki.app.state.auditing import ACTION, targets_of

    guard, targets = live.rights.application, targets_of(live.project)
    if guard is None:
        return lambda id: True

    def may(id: str) -> bool:
        return guard.decide(ACTION, id).allowed

    if targets and not any(map(may, targets)):
        guard.require(ACTION, targets[0], f"not allowed to see the acts on {targets[0]}: no policy allows {ACTION}")
    return may
