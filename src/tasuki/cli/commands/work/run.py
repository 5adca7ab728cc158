"""``tasuki run`` and ``dev``: consume until stopped; ``dev`` follows the source, with a desk beside it."""

from __future__ import annotations

import asyncio
import errno
import logging
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.exits import OK, CommandError, exit_code_of, show_error
from tasuki.cli.options import project_options
from tasuki.cli.output import is_terminal
from tasuki.cli.project import Target
from tasuki.cli.worker.admin import ADMIN_OPTIONS, DEFAULT, Admin, Beside, admin_options, announce
from tasuki.cli.worker.fleet import Fleet, WatchedFleet, child_arguments, follow_parent
from tasuki.cli.worker.fleet_reports import METRICS
from tasuki.cli.worker.options import Recycling, choose, message_log_options, recycling_options, refuse_too_little
from tasuki.cli.worker.running import drivers_of, follow_emptying, longest_stop, refuse_memory, summary
from tasuki.cli.worker.watching import Watcher, restart
from tasuki.errors import StopTimeoutError, TasukiError
from tasuki.supervisor.children.asking import QUESTION as STOP_TIMEOUT
from tasuki.system.process import resident_bytes
from tasuki.system.replacing import touch

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.cli.worker.starting import EarlySignals
    from tasuki.contracts.recycling import Limits
    from tasuki.kinds.check.project import Project
    from tasuki.supervisor.children.answering import ParentAnswers


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
@message_log_options
@click.option("--lifeline", type=int, hidden=True)
@project_options(is_argument=True, log_level="info")
@click.pass_context
def run_command(
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
    parent: ParentAnswers | None = None,
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
        from tasuki.app.health.blocked import events_of

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


_PORTS = 10
"""How many ports are tried, from the one in ``DEFAULT`` on: several projects may be worked on."""


Begin = Callable[[], object]


@click.command("dev")
@click.option("--no-desk", is_flag=True, help="Serve no desk.")
@admin_options()
@message_log_options
@project_options(is_argument=True, log_level="info")
@click.pass_context
def dev_command(context: click.Context, target: Target, admin: Admin, *, no_desk: bool) -> int:
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
