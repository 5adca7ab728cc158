"""``tasuki bench``: a short measurement of a driver on this machine, beside a loop that does nothing else."""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path
from typing import Any

import click

from tasuki.cli import loop
from tasuki.cli.options import printing, project_options
from tasuki.cli.output import print_table
from tasuki.cli.project import Target


def _show(done: dict[str, Any]) -> None:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    click.echo(f"{done['driver']}, {done['messages']} messages of 192 bytes, {python}")
    rows = [(row["what"], row["messages_per_second"], row["cpu_us_per_message"]) for row in done["results"]]
    print_table(("", "MESSAGES/S", "µs CPU/MESSAGE"), rows)


@click.command("bench")
@click.argument("url", required=False)
@click.option("--messages", type=click.IntRange(100, 10_000_000), default=20_000, show_default=True, help="How many.")
@printing(_show)
@project_options()
def command(target: Target, url: str | None, messages: int) -> dict[str, Any]:
    """Measure the driver of URL (memory://, sqlite://, …), or else the first of the project.

    It publishes and consumes messages of 192 bytes with a handler that does nothing, on its own queue: for SQLite
    in a new file in the same folder. The bare loop decodes as many bodies and awaits a function, without a queue: the
    least that Python costs. CPU is the time of this process, all threads, without the broker's own.
    """
    from tasuki.cli.tools.measuring import bench_app, driver_to_measure, measure

    kind, fields, folder = driver_to_measure(target, url)
    with tempfile.TemporaryDirectory(prefix=".tasuki-bench-", dir=folder) as scratch:
        app = bench_app(kind, fields, Path(scratch))
        rows = loop.run(measure(app, messages), fast=True)
    return {"driver": kind, "messages": messages, "results": rows}
