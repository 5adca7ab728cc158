"""``tasuki result``: what a handler returned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.exits import CommandError
from tasuki.cli.options import project_options
from tasuki.cli.output import print_json
from tasuki.cli.project import Target
from tasuki.cli.tools.control.jobs import on_job
from tasuki.errors import HandlerError, RequestTimeoutError

if TYPE_CHECKING:
    from tasuki.app.state.jobs import Job


@click.command("result")
@click.argument("id")
@click.option("--queue", metavar="QUEUE", help="The queue of the message; default: search all.")
@click.option("--timeout", default="0s", show_default=True, metavar="TIME", help="How long to wait for its end.")
@project_options()
def command(target: Target, id: str, *, queue: str | None, timeout: str) -> None:
    """Print what the handler of the message ID returned, as JSON; its failure is an error.

    Needs `result` at the queue.
    """

    async def look(job: Job[Any]) -> Any:
        try:
            return await job.result(timeout)
        except (HandlerError, RequestTimeoutError) as error:
            raise CommandError(str(error)) from error

    print_json(on_job(target, id, queue, look))
