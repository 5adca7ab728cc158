"""``tasuki status``: what has become of a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from tasuki.cli.options import printing, project_options
from tasuki.cli.output import print_pairs
from tasuki.cli.project import Target
from tasuki.cli.tools.control.jobs import on_job

if TYPE_CHECKING:
    from tasuki.app.state.jobs import Job


def _show(found: dict[str, Any]) -> None:
    progress = found.pop("progress")
    if progress is not None:
        of = "" if progress["total"] is None else f" of {progress['total']:g}"
        found["progress"] = f"{progress['done']:g}{of} {progress['note']}".rstrip()
    print_pairs(found)


@click.command("status")
@click.argument("id")
@click.option("--queue", metavar="QUEUE", help="The queue of the message; default: search all.")
@printing(_show)
@project_options()
def command(target: Target, id: str, *, queue: str | None) -> dict[str, Any]:
    """Say what has become of the message ID, and how far its handler is.

    It is waiting, delayed, running, done, failed, dead (in the dead-letter queue), cancelled, expired or unknown.
    Without `result` at the queue a message that has ended is unknown, unless it is dead or cancelled.
    """

    async def look(job: Job[Any]) -> dict[str, Any]:
        progress = await job.progress()
        return {
            "id": id,
            "queue": job.queue,
            "status": await job.status(),
            "progress": None if progress is None else msgspec.to_builtins(progress),
        }

    return on_job(target, id, queue, look)
