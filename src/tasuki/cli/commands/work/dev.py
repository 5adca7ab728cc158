"""``tasuki dev``: a worker that follows the source."""

from __future__ import annotations

import click

from tasuki.cli.commands.work.run import run_here
from tasuki.cli.options import project_options
from tasuki.cli.project import Target
from tasuki.cli.worker.admin import Admin, admin_options
from tasuki.cli.worker.running import summary
from tasuki.cli.worker.watching import Watcher


@click.command("dev")
@admin_options()
@project_options(is_argument=True, log_level="info")
@click.pass_context
def command(context: click.Context, target: Target, admin: Admin) -> int:
    """Run the project TARGET while you work on it: one process that applies each change of its source files.

    It is 'run --reload': a change that does not pass the check is refused, and the old version goes on.
    """
    app = target.load()
    click.echo(summary(target, app.check(), 1), err=True)
    with admin.beside(app):
        return run_here(app, context.obj, Watcher(target), reloads=True)
