"""``tasuki pause``, ``resume`` and ``scale``: orders that all workers follow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tasuki.cli import loop
from tasuki.cli.acting import acting
from tasuki.cli.exits import CommandError
from tasuki.cli.options import printing, project_options, read_time
from tasuki.cli.project import Target, refuse_private
from tasuki.errors import ConfigError

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.state import pausing
    from tasuki.kinds.check.project import Project
    from tasuki.state.pauses import Pause, Scale


T = TypeVar("T")


def on_target(
    target: Target,
    name: str,
    work: Callable[[App, pausing.Target], Awaitable[T]],
    act: str,
    told: str = "done",
    *,
    options: str = "",
    only_consumers: bool = False,
) -> tuple[pausing.Target, T]:
    """What the name means, and the result of the work on it, which is an act. Raises CommandError.

    ``told``, ``options``: the result, and how it was to be done, in the audit.
    """
    from tasuki.app.state.pausing import find_target, queue_of

    app = target.load()
    project = app.check()
    try:
        found = find_target(project, name, ("consumer",)) if only_consumers else find_target(project, name)
    except ConfigError as error:
        raise CommandError(str(error)) from error
    queue = queue_of(project, found)
    refuse_private(project, queue)

    async def run() -> T:
        async with app._runtime.reading():
            try:
                async with acting(app, act, found.id, queue) as outcome:
                    outcome.result, outcome.options = told, options
                    return await work(app, found)
            except ValueError as error:
                raise CommandError(str(error)) from error

    return found, loop.run(run())


def pause_text(pause: Mapping[str, Any]) -> str:
    """``until 2026-12-24T18:00:00Z, by kana@host: the API answers 429``."""
    from tasuki.state.pauses import Pause

    return str(Pause(**pause))


async def orders_by_queue(app: App, project: Project, queues: Container[str]) -> dict[str, dict[str, Any]]:
    """The orders for each queue: ``paused`` of itself, and ``orders`` of its consumers and schedules by id.

    ``queues``: which queues the brokers have.

    A store that cannot be read now adds nothing: the counts are worth showing without it.
    """
    from tasuki.app.state.pausing import orders_of, queue_of
    from tasuki.errors import DriverError
    from tasuki.state.shared import SILENT

    found: dict[str, dict[str, Any]] = {}
    if app._runtime.assembly is None:
        return found
    try:
        async with asyncio.timeout(SILENT):
            orders = await orders_of(app._runtime.assembly, queues)
    except (DriverError, TimeoutError):
        return found
    for target, pause in orders.pauses.items():
        row = found.setdefault(queue_of(project, target), {})
        if target.kind == "queue":
            row["paused"] = pause.as_dict()
        else:
            row.setdefault("orders", {}).setdefault(target.id, {})["paused"] = pause.as_dict()
    for id, scale in orders.scales.items():
        row = found.setdefault(project.configs[id].queue, {})  # type: ignore[attr-defined]
        row.setdefault("orders", {}).setdefault(id, {})["concurrency"] = scale.concurrency
    return found


def lines_of(row: Mapping[str, Any]) -> list[str]:
    """What people read of a queue's orders, one line each."""
    lines = [f"{row['queue']} is paused {pause_text(row['paused'])}"] if "paused" in row else []
    for id, order in row.get("orders", {}).items():
        if "paused" in order:
            lines.append(f"{id} is paused {pause_text(order['paused'])}")
        if "concurrency" in order:
            lines.append(f"{id} is scaled to {order['concurrency']} in each process")
    return lines


def _show_pause(done: dict[str, Any]) -> None:
    click.echo(f"{done['kind']} {done['id']} is paused {pause_text(done['paused'])}")


@click.command("pause")
@click.argument("name", metavar="QUEUE|CONSUMER|SCHEDULE")
@click.option("--for", "duration", metavar="TIME", help="End the pause after this time, as in 10m.")
@click.option("--until", metavar="WHEN", callback=read_time, help="End it then, as in 2026-12-24T18:00+09:00.")
@click.option("--reason", default="", help="Why, for those who see it.")
@printing(_show_pause, "at", "until")
@project_options()
def pause_command(
    target: Target, name: str, duration: str | None, until: datetime | None, reason: str
) -> dict[str, Any]:
    """Let all workers stop receiving from a queue or for a consumer, or a schedule stop publishing.

    They follow within two seconds: running handlers end, prefetched messages go back. A worker that starts later starts
    paused. Without --for and --until the pause ends with `tasuki resume`.
    """
    if duration and until:
        raise click.UsageError("give --for or --until, not both")

    async def pause(app: App, found: pausing.Target) -> Pause:
        return await app.workers.pause(found.id, duration, until=until, reason=reason)

    asked = {"for": duration, "until": None if until is None else until.isoformat(), "reason:": reason}
    options = ", ".join(f"{name} {value}" for name, value in asked.items() if value)
    found, paused = on_target(target, name, pause, "pause", options=options)
    return {"kind": found.kind, "id": found.id, "paused": paused.as_dict()}


def _show_resume(done: dict[str, Any]) -> None:
    what = f"{done['kind']} {done['id']}"
    was = f"; it was paused {pause_text(done['was'])}" if done["was"] is not None else ""
    click.echo(f"{what} is resumed{was}" if was else f"{what} was not paused")


@click.command("resume")
@click.argument("name", metavar="QUEUE|CONSUMER|SCHEDULE")
@printing(_show_resume, "at", "until")
@project_options()
def resume_command(target: Target, name: str) -> dict[str, Any]:
    """End the pause of a queue, a consumer or a schedule."""

    async def resume(app: App, found: pausing.Target) -> Pause | None:
        return await app.workers.resume(found.id)

    found, was = on_target(target, name, resume, "resume")
    return {"kind": found.kind, "id": found.id, "was": None if was is None else was.as_dict()}


def _show_scale(done: dict[str, Any]) -> None:
    number = done["concurrency"]
    now = "has the concurrency of its entry again" if number is None else f"is scaled to {number} in each process"
    click.echo(f"consumer {done['id']} {now}")


@click.command("scale")
@click.argument("consumer")
@click.argument("number", metavar="N", type=click.IntRange(0, 1000), required=False)
@click.option("--reset", is_flag=True, help="Let the concurrency of its entry hold again.")
@printing(_show_scale)
@project_options()
def scale_command(target: Target, consumer: str, number: int | None, *, reset: bool) -> dict[str, Any]:
    """Let each process handle N messages at the same time for CONSUMER; 0 pauses it. Its prefetch follows.

    Workers follow within two seconds, without a restart; the number holds for those that start later too.
    """
    if (number is None) != reset:
        raise click.UsageError("give N or --reset")

    async def scale(app: App, found: pausing.Target) -> Scale | None:
        return await app.workers.scale(found.id, number)

    told = "reset" if number is None else f"to {number} in each process"
    found, _ = on_target(target, consumer, scale, "scale", told, only_consumers=True)
    return {"id": found.id, "concurrency": number}
