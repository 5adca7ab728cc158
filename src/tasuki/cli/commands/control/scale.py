"""``tasuki scale``: how many messages each process handles at a time for a consumer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.options import printing, project_options
from tasuki.cli.project import Target
from tasuki.cli.tools.control.pausing import on_target

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.state import pausing
    from tasuki.state.pauses import Scale


def _show(done: dict[str, Any]) -> None:
    number = done["concurrency"]
    now = "has the concurrency of its entry again" if number is None else f"is scaled to {number} in each process"
    click.echo(f"consumer {done['id']} {now}")


@click.command("scale")
@click.argument("consumer")
@click.argument("number", metavar="N", type=click.IntRange(0, 1000), required=False)
@click.option("--reset", is_flag=True, help="Let the concurrency of its entry hold again.")
@printing(_show)
@project_options()
def command(target: Target, consumer: str, number: int | None, *, reset: bool) -> dict[str, Any]:
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
