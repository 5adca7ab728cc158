"""``tasuki health``: read the health file of a worker, as an exec probe does."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from tasuki.app.health.health_file import PERIOD, read, touched_at
from tasuki.app.health.report import Check, Report, problems, report_of, stale, touched
from tasuki.cli.exits import ERROR, OK
from tasuki.cli.options import json_option

STALE = 20.0
"""Seconds after which a health file says nothing any more; it is written every 5 s."""


@click.command("health")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), envvar="TASUKI_HEALTH_FILE")
@click.option("--ready", "asks_ready", is_flag=True, help="Ask whether it can work, not only whether it is live.")
@json_option
def command(file: Path, *, asks_ready: bool, as_json: bool) -> int:
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
