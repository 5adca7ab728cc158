"""``tasuki dev``: a worker that follows the source, and a desk beside it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from tasuki.cli.commands.work.run import run_here
from tasuki.cli.exits import CommandError
from tasuki.cli.options import project_options
from tasuki.cli.project import Target
from tasuki.cli.worker.admin import DEFAULT, Admin, Beside, admin_options
from tasuki.cli.worker.running import summary
from tasuki.cli.worker.watching import Watcher
from tasuki.errors import TasukiError

if TYPE_CHECKING:
    from tasuki.app import App

_PORTS = 10
"""How many ports are tried, from the one in ``DEFAULT`` on: several projects may be worked on."""

Begin = Callable[[], object]


@click.command("dev")
@click.option("--no-desk", is_flag=True, help="Serve no desk.")
@admin_options()
@project_options(is_argument=True, log_level="info")
@click.pass_context
def command(context: click.Context, target: Target, admin: Admin, *, no_desk: bool) -> int:
    """Run the project TARGET while you work on it: one process that applies each change of its source files.

    It is 'run --reload' with the desk on the first free port from 9321 on: a change that does not pass the check is
    refused, and the old version goes on.
    """
    app = target.load()
    click.echo(summary(target, app.check(), 1), err=True)
    if no_desk and admin.address:
        raise click.UsageError("give --admin or --no-desk, not both")
    with _desk(app, admin, is_wanted=not no_desk) as (begin, line):
        click.echo(f"  desk      {line}", err=True)
        return run_here(app, context.obj, Watcher(target), reloads=True, begin=begin)


@contextmanager
def _desk(app: App, admin: Admin, *, is_wanted: bool) -> Iterator[tuple[Begin | None, str]]:
    """The function that starts the desk, or None, and a line on it. Raises CommandError: --admin cannot be."""
    with ExitStack() as stack:
        if not is_wanted:
            yield None, "none"
        elif admin.address:
            beside = stack.enter_context(admin.beside(app))
            yield beside.start, _line(beside)
        else:
            yield _enter_first_free(app, admin, stack)


def _line(beside: Beside) -> str:
    return "none" if beside.door is None else beside.door.link


def _enter_first_free(app: App, admin: Admin, stack: ExitStack) -> tuple[Begin | None, str]:
    """The same on the first free port; the worker runs without a desk as well."""
    from tasuki.system.extras import require_extra

    try:
        require_extra()
    except TasukiError as error:
        return None, f"none: {error}"
    host, _, first = DEFAULT.rpartition(":")
    for port in range(int(first), int(first) + _PORTS):
        here = replace(admin, address=f"{host}:{port}")
        try:
            beside = stack.enter_context(here.beside(app))
        except CommandError as error:
            if getattr(error.__cause__, "errno", None) != errno.EADDRINUSE:
                raise  # a mistake in an option
        else:
            return beside.start, _line(beside)
    return None, f"none: the ports {first} to {int(first) + _PORTS - 1} are taken; give --admin HOST:PORT"
