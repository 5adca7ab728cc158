"""``tasuki run``: consume until stopped."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.exits import OK, CommandError, exit_code_of, show_error
from tasuki.cli.options import project_options
from tasuki.cli.output import is_terminal
from tasuki.cli.project import Target
from tasuki.cli.worker.choosing import choose
from tasuki.cli.worker.running import follow_emptying, refuse_memory, summary
from tasuki.cli.worker.watching import Watcher, restart
from tasuki.errors import StopTimeoutError
from tasuki.system.replacing import touch

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.cli.worker.starting import EarlySignals


@click.command("run")
@click.option("--processes", type=click.IntRange(1, 1000), default=1, show_default=True, help="Worker processes.")
@click.option("--queues", multiple=True, metavar="QUEUE,…", help="Consume these queues only; default: all.")
@click.option("--except", "excluded", multiple=True, metavar="QUEUE,…", help="Do not consume these queues.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1000),
    help="Handle so many messages at a time of all consumed queues together, which take turns.",
)
@click.option("--reload", "reloads", is_flag=True, help="Follow changes of the source files.")
@click.option("--until-empty", is_flag=True, help="End when no consumed queue holds a message, delayed ones included.")
@click.option(
    "--health-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write health and counters into this file (JSON) every 5 s; 'tasuki health' reads it.",
)
@click.option("--lifeline", type=int, hidden=True)
@project_options(is_argument=True, log_level="info")
@click.pass_obj
def command(
    early: EarlySignals,
    target: Target,
    processes: int,
    queues: tuple[str, ...],
    excluded: tuple[str, ...],
    concurrency: int | None,
    health_file: Path | None,
    lifeline: int | None,
    *,
    reloads: bool,
    until_empty: bool,
) -> int:
    """Run the consumers of the project TARGET (a folder, a YAML file or package.module:app; default '.').

    TERM and INT (Ctrl-C) drain: running handlers finish, messages that have not started are released. A second signal
    cancels running handlers. HUP reloads the project (an app in Python in a new process), QUIT prints what every
    worker is doing.
    """
    if lifeline is not None:
        from tasuki.cli.worker.fleet import drain_with_parent

        drain_with_parent(lifeline)
    app = target.load()
    project = choose(app, queues, excluded, concurrency)
    if lifeline is None and is_terminal(sys.stderr):
        click.echo(summary(target, project, processes), err=True)
    if health_file is not None:
        _touch(health_file)
    if processes > 1:
        refuse_memory(project)
        logs = {name: click.get_current_context().params[name] for name in ("log_level", "log_format")}
        options = {**logs, "reloads": reloads, "until_empty": until_empty, "selection": app.selection}
        return _run_fleet(early, target, processes, health_file, options)
    return _run_here(app, early, Watcher(target), health_file, reloads=reloads, until_empty=until_empty)


def _run_here(
    app: App, early: EarlySignals, watcher: Watcher, health_file: Path | None, *, reloads: bool, until_empty: bool
) -> int:
    app.on_hangup, app.stop_signals = watcher.hang_up, early.stops
    early.is_starting = False  # what comes now is for the app to see, as soon as it runs
    beside: list[Coroutine[Any, Any, None]] = [watcher.run(app)] if reloads else []
    beside += [watcher.hang_up(app)] if early.wants_reload else []
    code = loop.run(_run(app, beside, health_file, until_empty=until_empty), fast=True)
    if watcher.wants_restart and app.stopped_by is None:
        restart()
    return code


def _touch(health_file: Path) -> None:
    try:
        touch(health_file)
    except OSError as error:
        raise CommandError(f"--health-file: {error}") from error


def _run_fleet(
    early: EarlySignals, target: Target, processes: int, health_file: Path | None, options: dict[str, Any]
) -> int:
    from tasuki.cli.worker.fleet import Fleet, child_arguments

    def arguments(lifeline: int, file: Path | None) -> list[str]:
        return child_arguments(target, lifeline, **options, health_file=file)

    until_empty = options["until_empty"]
    fleet = Fleet(arguments, processes, ends_when_done=until_empty, signals=early.stops, health_file=health_file)
    early.is_starting = False
    return loop.run(fleet.run())


async def _run(app: App, extra: list[Coroutine[Any, Any, None]], health_file: Path | None, *, until_empty: bool) -> int:
    beside = [asyncio.create_task(work) for work in extra]
    if health_file is not None:
        from tasuki.app.health.health import Pulse

        beside.append(asyncio.create_task(Pulse(health_file, app).run(), name="health"))
    if until_empty and is_terminal(sys.stderr):
        beside.append(asyncio.create_task(follow_emptying(app), name="progress"))
    try:
        await app.run(until_empty=until_empty)
    except StopTimeoutError as error:
        show_error(error)
        return 128 + app.cut_short_by if app.cut_short_by else exit_code_of(error)
    finally:
        for task in beside:
            task.cancel()
    return 128 + app.cut_short_by if app.cut_short_by else OK
