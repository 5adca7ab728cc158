"""``tasuki queues``: all queues and how full they are."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.commands.queues.info import shown
from tasuki.cli.options import printing, project_options
from tasuki.cli.output import age, print_table
from tasuki.cli.project import Target, is_shared
from tasuki.cli.tools.control.pausing import lines_of, orders_by_queue
from tasuki.errors import QueueNotFoundError
from tasuki.observe.plain import escape

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.kinds.check.project import Project

_COUNTS = ("message_count", "ready", "in_flight", "delayed", "oldest_age")


def _show(rows: list[dict[str, Any]]) -> None:
    shown = [(row["queue"], row["driver"], *_counts(row), age(row["oldest_age"])) for row in rows]
    print_table(("QUEUE", "DRIVER", "MESSAGES", "READY", "IN FLIGHT", "DELAYED", "OLDEST"), shown)
    for line in (line for row in rows for line in lines_of(row)):
        click.echo(line, err=True)
    for text in dict.fromkeys(text for row in rows for text in row.get("alarms", ())):
        click.echo(escape(f"worker {text}"), err=True)
    if idle := [row["queue"] for row in rows if row.get("waits_for_worker")]:
        click.echo(f"no worker consumes {', '.join(idle)}; start one: tasuki run", err=True)
    if alone := [row["queue"] for row in rows if row.get("waits_for_consumer")]:
        click.echo(f"no consumer of this project consumes {', '.join(alone)}; declare one", err=True)


def _counts(row: dict[str, Any]) -> list[Any]:
    return [_count(row[name], is_estimate="is_estimate" in row) for name in _COUNTS[:-1]]


def _count(number: int | None, *, is_estimate: bool) -> object:
    return number if number is None or not is_estimate else f"~{number}"


@click.command("queues")
@printing(_show, "at", "until")
@project_options()
def command(target: Target) -> list[dict[str, Any]]:
    """List the queues of the project. Counts of memory queues and of queues that do not exist yet stay empty."""
    from tasuki.kinds.entries.consumer import ConsumerConfig
    from tasuki.kinds.entries.queue import QueueConfig

    app = target.load()
    project = app.check()
    queues = project.of(QueueConfig)
    infos: dict[str, dict[str, Any]] = {}
    orders: dict[str, dict[str, Any]] = {}
    if shared := [id for id in queues if is_shared(project.driver_of(id))]:
        infos, orders = loop.run(_infos(app, project, shared))
    dead = {config.dead_letter.queue for config in queues.values() if config.dead_letter is not None}
    consumed = {config.queue for config in project.of(ConsumerConfig).values()}
    rows = [_row(id, config.driver, infos.get(id, {})) | orders.get(id, {}) for id, config in queues.items()]
    return [{**row, **_waiting(infos.get(row["queue"], {}), dead, consumed)} for row in rows]


async def _infos(
    app: App, project: Project, ids: list[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """The counts of the queues, and the orders for them."""
    from tasuki.app.state.workers import Census

    infos = {}
    async with app._runtime.reading():
        census = Census(app._runtime.live())
        for id in ids:
            with suppress(QueueNotFoundError):  # its broker does not have it yet
                infos[id] = await app._runtime.queue(id).info_by(partial(census.count, id), partial(census.depth, id))
                infos[id]["alarms"] = await census.alarms(id)
        return infos, await orders_by_queue(app, project, infos)


def _waiting(info: dict[str, Any], dead: set[str], consumed: set[str]) -> dict[str, Any]:
    """``waits_for_worker`` where messages wait and no process consumes them; dead letters wait for a person.

    ``waits_for_consumer``: no consumer of the queue is declared either. ``alarms``: the trouble of the workers of
    the queue. A silent one may consume from it.
    """
    if info.get("alarms"):
        return {"alarms": info["alarms"]}
    is_idle = bool(info.get("ready") or info.get("delayed")) and info["consumer_count"] == 0  # None: unknown
    if is_idle and info["queue"] not in dead:
        return {"waits_for_worker" if info["queue"] in consumed else "waits_for_consumer": True}
    return {}


def _row(id: str, driver: str, info: dict[str, Any]) -> dict[str, Any]:
    about = {"is_estimate": True} if info.get("is_estimate") else {}
    return {"queue": id, "driver": driver, **{name: shown(info).get(name) for name in _COUNTS}, **about}
