"""``tasuki workers`` and ``health``: worker processes, their health and their latest events."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tasuki.app.health.health_file import PERIOD, read, touched_at
from tasuki.app.health.report import Check, Report, problems, report_of, stale, touched
from tasuki.cli import loop
from tasuki.cli.exits import ERROR, OK, CommandError
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import age, print_json, print_table
from tasuki.cli.project import Target
from tasuki.errors import UnsupportedError
from tasuki.moments import dated
from tasuki.observe.events import NEWEST, STACK
from tasuki.observe.plain import escape, escape_lines

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.state.workers import Crew
    from tasuki.state.worker_record import Presence


Found = dict[str, list[dict[str, Any]]]
"""The events of each consumer, by its id."""


def is_named(worker: Presence, id: str) -> bool:
    """Whether an id, ``HOST:PID`` or ``PID``, is a worker's."""
    return id in (f"{worker.host}:{worker.pid}", str(worker.pid))


async def events_of(app: App, id: str, newest: int) -> Found:
    """The newest events of each consumer of a worker, and after them where its handlers are (the kind ``stack``).

    Raises:
        CommandError: there is no such worker, or several; or it does not answer.
        DriverError: a store cannot be reached.
    """
    from tasuki.state.recorder_requests import PATIENCE, WorkerAddress, ask

    async with app._runtime.reading():
        assert app._runtime.assembly is not None
        workers = [worker for worker in await app.workers.list() if is_named(worker, id)]
        names = {(worker.host, worker.pid) for worker in workers}
        if len(names) != 1:
            problem = "no worker" if not names else f"{len(names)} workers"
            raise CommandError(f"{problem} with the id {id!r}; 'tasuki workers' lists host and pid: give HOST:PID")
        consumers = {consumer.id for worker in workers for consumer in worker.consumers}
        found: Found = {}
        for state in app._runtime.assembly.states_of_queues():
            left = consumers - found.keys()
            mine = {id for id in left if _is_in(app, id, state)}
            if mine:
                found |= await ask(await state.store(), WorkerAddress(*next(iter(names))), mine, newest, stacks=True)
    if not found and consumers:
        raise CommandError(
            f"worker {id} has not answered for {PATIENCE:g} s: its event loop may be blocked; then its log has the "
            "events, and QUIT prints them"
        )
    return found


def _is_in(app: App, consumer: str, state: object) -> bool:
    """Whether a consumer of this project has its state there; unknown ones may have it anywhere."""
    known = None if app._runtime.assembly is None else app._runtime.assembly.consumers.get(consumer)
    return known is None or known.state is state


def show_events(found: Found, *, as_json: bool) -> None:
    """Print them."""
    if as_json:
        print_json(dated(found, ("at",)))
        return
    lines = [(consumer, event) for consumer, events in sorted(found.items()) for event in events]
    rows = [
        (_time(event["at"]), consumer, event["kind"], event["message"] or "", event["attempt"] or "", _value(event))
        for consumer, event in lines
        if event["kind"] != STACK
    ]
    if not rows:
        click.echo("nothing has happened yet", err=True)
        return
    print_table(("TIME (UTC)", "CONSUMER", "EVENT", "MESSAGE", "ATTEMPT", ""), rows)
    for consumer, event in lines:
        if event["kind"] == STACK:
            click.echo(f"\n{consumer} runs message {event['message']}, attempt {event['attempt']}, and is in:")
            click.echo(escape_lines(event["value"]))


def _time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%H:%M:%S.%f")[:-3]


def _value(event: dict[str, Any]) -> str:
    value = event["value"]
    if value is None:
        return ""
    return f"{value * 1000:.1f} ms" if event["kind"] == "ended" else str(value)


_HEADINGS = ("HOST", "PID", "HEALTH", "VERSION", "UP", "SEEN", "RUNNING", "DONE", "FAILED", "CONSUMERS")


_MOST_NAMES = 20
"""Consumers of a worker that are named."""


def _show(rows: list[dict[str, Any]]) -> None:
    if not rows:
        click.echo("no worker gives a sign of life; start one: tasuki run", err=True)
        return
    print_table(_HEADINGS, [_cells(row) for row in rows])
    for row in rows:
        if (health := row["health"]) is not None and health["check"]:
            text = f"{row['host']}:{row['pid']} {_words(health['status'])}: {health['check']}: {health['text']}"
            click.echo(escape(text), err=True)


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    consumers = row["consumers"]
    names = ", ".join(consumer["id"] for consumer in consumers[:_MOST_NAMES])
    more = max(len(consumers) - _MOST_NAMES, 0) + row["unlisted"].get("consumers", 0)
    left_out = f" … and {more} more" if more else ""
    counts = (row["running"], row["done"], row["failed"])
    return (
        row["host"],
        row["pid"],
        _words(row["condition"]),
        row["version"],
        age(row["up"]),
        f"{age(row['seen_ago'])} ago",
        *counts,
        names + left_out,
    )


def _words(status: str) -> str:
    return status.replace("_", " ")


def _show_running(rows: list[dict[str, Any]]) -> None:
    running = [
        (
            row["host"],
            row["pid"],
            consumer["id"],
            message["function"],
            message["id"],
            age(row["seen"] - message["since"]),
        )
        for row in rows
        for consumer in row["consumers"]
        for message in consumer["messages"]
    ]
    print_table(("HOST", "PID", "CONSUMER", "FUNCTION", "MESSAGE", "FOR"), running)


@click.command("workers")
@click.argument("worker", required=False, metavar="[ID]")
@click.option("--events", "is_of_events", is_flag=True, help="Show the latest events of the messages of worker ID.")
@click.option(
    "--newest", type=click.IntRange(1, 1024), default=NEWEST, show_default=True, help="Events of each consumer."
)
@click.option("--running", "is_of_running", is_flag=True, help="Show the messages whose handlers run now.")
@json_option
@project_options()
def workers_command(
    target: Target, worker: str | None, newest: int, *, is_of_running: bool, is_of_events: bool, as_json: bool
) -> None:
    """List the worker processes on all machines that consume from queues of the project, or the one with an ID.

    An ID is HOST:PID, or PID alone. A worker that has been silent for 15 seconds leaves the list; stderr names it
    for 15 minutes. What runs is as of the last sign of each worker, up to 5 seconds ago.
    """
    if is_of_events:
        if worker is None:
            raise click.UsageError("--events is of one worker: give its ID, HOST:PID or PID; 'tasuki workers' has both")
        show_events(loop.run(events_of(target.load(), worker, newest)), as_json=as_json)
        return
    rows = loop.run(_workers(target.load(), worker))
    if as_json:
        print_json(dated(rows, ("now", "started", "seen", "since")))
        return
    (_show_running if is_of_running else _show)(rows)


async def _workers(app: App, id: str | None) -> list[dict[str, Any]]:
    from tasuki.app.state.finding import states_there
    from tasuki.app.state.workers import Crew, crew_of

    async with app._runtime.reading():
        assert app._runtime.assembly is not None
        states = app._runtime.assembly.states_of_queues()
        if not states:
            raise UnsupportedError(
                "no queue of this project has a state that processes share: give the driver, or a queue, a store "
                "(state: …)"
            )
        crews = [await crew_of(state) for state in await states_there(app._runtime.assembly) if state in states]
        names = {(queue.driver.name, queue.spec.name) for queue in app._runtime.assembly.queues.values()}
        crews = [Crew(crew.now, _ours(crew.alive, names), _ours(crew.lost, names)) for crew in crews]
        found = [(worker, crew.now) for crew in crews for worker in crew.alive if id is None or is_named(worker, id)]
        if id is not None and not found:
            raise CommandError(f"no worker with the id {id!r}; 'tasuki workers' lists host and pid: give HOST:PID")
        if id is None:
            _warn_of_lost(crews)
        found.sort(key=lambda each: (each[0].host, each[0].started, each[0].pid))
        return [_row(worker, now) for worker, now in found]


def _ours(workers: list[Presence], names: set[tuple[str, str]]) -> list[Presence]:
    """The ones with queues of this project, or with unlisted ones; ``names``: driver and queue at the broker."""
    return [
        worker
        for worker in workers
        if worker.unlisted.consumers or any((each.driver, each.queue) in names for each in worker.consumers)
    ]


def _warn_of_lost(crews: list[Crew]) -> None:
    alive = [worker for crew in crews for worker in crew.alive]
    for crew in crews:
        for worker in crew.lost:
            if not any(map(worker.is_process, alive)):
                click.echo(escape(worker.alarm(crew.now)), err=True)


def _row(worker: Presence, now: float) -> dict[str, Any]:
    import msgspec

    from tasuki.state.worker_record import as_of_sign

    counts: dict[str, Any] = {"running": worker.running, "done": worker.done, "failed": worker.failed}
    counts["condition"] = worker.condition(now)
    times = {"now": now, "up": max(now - worker.started, 0.0), "seen_ago": max(now - worker.seen, 0.0)}
    return {**msgspec.to_builtins(as_of_sign(worker, now)), **counts, **times}


STALE = 20.0
"""Seconds after which a health file says nothing any more; it is written every 5 s."""


@click.command("health")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), envvar="TASUKI_HEALTH_FILE")
@click.option("--ready", "asks_ready", is_flag=True, help="Ask whether it can work, not only whether it is live.")
@json_option
def health_command(file: Path, *, asks_ready: bool, as_json: bool) -> int:
    """Say whether the worker that writes FILE (``run --health-file FILE``) is live: exit code 0, else 1.

    Without FILE the environment variable TASUKI_HEALTH_FILE names it, for ``run`` too. Live: a restart would not help.
    Ready: all its consumers can consume. One that is paused is both, and is named.
    """
    now = time.time()
    found = report_of(read(file))
    if found is None:
        text = f"{file} holds no health document: no worker with --health-file {file} has started"
        found = Report(now, (Check("worker", "not_live", now, text),))
    else:
        found = touched(found, touched_at(file), 2 * PERIOD)
    report = stale(found, now, STALE)
    why = problems(report, asks_ready=asks_ready)
    if as_json:
        from tasuki.cli.output import print_json

        print_json(report.as_dict())
    elif why:
        click.echo("\n".join(why), file=sys.stderr)
    else:
        click.echo("live and ready" if report.is_ready else "live")
        for check in report.checks:
            if check.text and check.status in ("ok", "warning"):
                click.echo(f"{check.name}: {check.text}")
    return ERROR if why else OK
