"""``tasuki health``: ask the health file of a worker, as an exec probe does."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from tasuki.app.health.health_file import paused_in, read, reasons
from tasuki.cli.exits import ERROR, OK
from tasuki.cli.options import json_option


@click.command("health")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), envvar="TASUKI_HEALTH_FILE")
@click.option("--ready", "asks_ready", is_flag=True, help="Ask whether it can consume, not only whether it is live.")
@json_option
def command(file: Path, *, asks_ready: bool, as_json: bool) -> int:
    """Say whether the worker that writes FILE (``run --health-file FILE``) is live: exit code 0, else 1.

    Live: a restart would not help. Ready: all its consumers can consume. One that is paused is both, and is named.
    """
    document = read(file)
    live, ready = reasons(document, time.time())
    if document is None:
        live = [f"{file} holds no health document: no worker with --health-file {file} has started"]
    why = [*live, *(reason for reason in ready if asks_ready and reason not in live)]
    if as_json:
        from tasuki.cli.output import print_json

        found = {"live": not live, "ready": not (live or ready), "why": {"live": live, "ready": ready}}
        print_json({**found, "paused": paused_in(document)})
    elif why:
        click.echo("\n".join(why), file=sys.stderr)
    else:
        click.echo("live" if live or ready else "live and ready")
        click.echo("\n".join(paused_in(document)), nl=bool(paused_in(document)))
    return ERROR if why else OK
