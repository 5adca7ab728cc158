"""``tasuki run``: consume until stopped."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.exits import OK, CommandError, exit_code_of, show_error
from tasuki.cli.options import project_options
from tasuki.cli.output import is_terminal
from tasuki.cli.project import Target
from tasuki.cli.worker.admin import ADMIN_OPTIONS, Admin, admin_options, announce
from tasuki.cli.worker.choosing import choose
from tasuki.cli.worker.fleet import Fleet, child_arguments, follow_parent
from tasuki.cli.worker.fleet_metrics import QUESTION as METRICS
from tasuki.cli.worker.recycling import Recycling, recycling_options, refuse_too_little
from tasuki.cli.worker.running import drivers_of, follow_emptying, longest_stop, refuse_memory, summary
from tasuki.cli.worker.watched_fleet import WatchedFleet
from tasuki.cli.worker.watching import Watcher, restart
from tasuki.errors import StopTimeoutError
from tasuki.supervisor.children.heartbeat import QUESTION as STOP_TIMEOUT
from tasuki.system.process import resident_bytes
from tasuki.system.replacing import touch

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.cli.worker.starting import EarlySignals
    from tasuki.contracts.recycling import Limits
    from tasuki.kinds.check.project import Project
    from tasuki.supervisor.children.answering import Answering

_log = logging.getLogger("tasuki.cli")


@click.command("run")
@click.option("--processes", type=click.IntRange(1, 1000), default=1, show_default=True, help="Worker processes.")
@click.option("--queues", multiple=True, metavar="QUEUE,…", help="Consume these queues only; default: all.")
@click.option("--except", "excluded", multiple=True, metavar="QUEUE,…", help="Do not consume these queues.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1000),
    help="Handle this number of messages at a time of all consumed queues together, which take turns.",
)
@click.option("--reload", "reloads", is_flag=True, help="Follow changes of the source files.")
@click.option("--until-empty", is_flag=True, help="End when no consumed queue holds a message, delayed ones included.")
@click.option(
    "--health-file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="TASUKI_HEALTH_FILE",
    help="Write health and counters into this file (JSON) every 5 s; 'tasuki health' reads it.",
)
@admin_options()
@recycling_options
@click.option("--lifeline", type=int, hidden=True)
@project_options(is_argument=True, log_level="info")
@click.pass_context
def command(
    context: click.Context,
    target: Target,
    processes: int,
    queues: tuple[str, ...],
    excluded: tuple[str, ...],
    concurrency: int | None,
    health_file: Path | None,
    lifeline: int | None,
    *,
    limits: Limits,
    admin: Admin,
    reloads: bool,
    until_empty: bool,
) -> int:
    """Run the consumers of the project TARGET (a folder, a YAML or Python file, or package.module:app).

    Without TARGET the project is found, as 'tasuki --help' says.

    TERM and INT (Ctrl-C) drain: running handlers finish, messages that have not started are released. A second signal
    cancels running handlers. HUP reloads the project (an app in Python in a new process), QUIT prints what every
    worker is doing.
    """
    parent = None if lifeline is None else follow_parent(lifeline)
    app = target.load()
    project = choose(app, queues, excluded, concurrency)
    if lifeline is None:
        refuse_too_little(limits, resident_bytes())
    if lifeline is None and is_terminal(sys.stderr):
        click.echo(summary(target, project, processes), err=True)
    elif lifeline is None:
        _log.info("project %s, queues on %s", target.given or target.found.target, "; ".join(drivers_of(project)))
    health_file = None if lifeline is not None else health_file  # of the parent, which asks this process
    if health_file is not None:
        try:
            touch(health_file)
        except OSError as error:
            raise CommandError(f"--health-file: {error}") from error
    if processes > 1:
        refuse_memory(project)
        fleet = _fleet(context, target, project, processes, health_file, until_empty=until_empty)
        with admin.beside(app, WatchedFleet(fleet)) as desk:
            announce(desk.door)
            desk.start()
            return loop.run(fleet.run())
    recycling = Recycling(app, limits, is_one_of_several=lifeline is not None) if limits else None
    watcher = Watcher(target)
    with admin.beside(app) as desk:
        announce(desk.door)
        return run_here(
            app, context.obj, watcher, health_file, recycling, parent,
            reloads=reloads, until_empty=until_empty, begin=desk.start,
        )  # fmt: skip


def _fleet(
    context: click.Context,
    target: Target,
    project: Project,
    processes: int,
    health_file: Path | None,
    *,
    until_empty: bool,
) -> Fleet:
    options = [option for option in context.command.params if isinstance(option, click.Option)]
    given = {option.opts[-1]: context.params[str(option.name)] for option in options}

    def arguments(lifeline: int) -> list[str]:
        unshared = (*ADMIN_OPTIONS, "--project", "--processes", "--health-file")
        own = {**dict.fromkeys(unshared), "--lifeline": lifeline}
        return child_arguments(target.words, {**given, **own})

    early: EarlySignals = context.obj
    fleet = Fleet(
        arguments,
        processes,
        ends_when_done=until_empty,
        signals=early.stops,
        health_file=health_file,
        stop_timeout=longest_stop(project),
    )
    early.is_starting = False
    return fleet


def run_here(
    app: App,
    early: EarlySignals,
    watcher: Watcher,
    health_file: Path | None = None,
    recycling: Recycling | None = None,
    parent: Answering | None = None,
    *,
    reloads: bool = False,
    until_empty: bool = False,
    begin: Callable[[], object] | None = None,
) -> int:
    """Run one worker in this process until it is stopped; the exit code. ``begin`` is called on its event loop."""
    app._runtime.on_hangup, app._runtime.stop_signals = partial(watcher.hang_up, app), early.stops
    early.is_starting = False  # what comes now is for the app to see, as soon as it runs
    beside: list[Coroutine[Any, Any, None]] = [watcher.run(app)] if reloads else []
    if early.wants_reload:
        beside.append(watcher.hang_up(app))
    if health_file is not None:
        app.health.write_into(health_file)
    if parent is not None:
        from tasuki.app.health.recorded import events_of

        parent.answers[STOP_TIMEOUT] = lambda: app._runtime.supervisor.stop_timeout
        parent.answers["health"] = app.health.document
        parent.answers["events"] = partial(events_of, app._runtime)
    # Lines of the log would break a bar, and show the progress as well.
    if until_empty and is_terminal(sys.stderr) and not logging.getLogger().isEnabledFor(logging.INFO):
        beside.append(follow_emptying(app))
    if recycling is not None:
        beside.append(recycling.run())
    if parent is not None:
        parent.answers[METRICS] = app.metrics.snapshot
    try:
        code = loop.run(_run(app, beside, begin, until_empty=until_empty), fast=True)
    finally:
        if parent is not None:
            parent.report(METRICS)
    if watcher.wants_restart and app._runtime.stopped_by is None:
        if parent is not None:
            parent.stop()  # the new program reads from the same descriptor
        restart()
    return code if recycling is None else recycling.exit_code(code)


async def _run(
    app: App, beside: list[Coroutine[Any, Any, None]], begin: Callable[[], object] | None, *, until_empty: bool
) -> int:
    if begin is not None:
        begin()
    tasks = [asyncio.create_task(work) for work in beside]
    code = OK
    try:
        await app.run(until_empty=until_empty)
    except StopTimeoutError as error:
        show_error(error)
        code = exit_code_of(error)
    finally:
        for task in tasks:
            task.cancel()
    return 128 + app._runtime.cut_short_by if app._runtime.cut_short_by else code
