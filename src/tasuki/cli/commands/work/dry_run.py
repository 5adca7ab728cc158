"""``tasuki dry-run``: run a message's handler without its effects."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.exits import ERROR, OK, CommandError
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import age, count, preview, print_json, print_text
from tasuki.cli.project import Target, find_queue
from tasuki.cli.tools.queues import looking_at

if TYPE_CHECKING:
    from tasuki.app.dry_run.report import DryRun


@click.command("dry-run")
@click.argument("queue")
@click.argument("id", metavar="ID")
@click.option("--limit", default="30s", show_default=True, metavar="TIME", help="End the handler after this time.")
@json_option
@project_options()
def command(target: Target, queue: str, id: str, *, limit: str, as_json: bool) -> int:
    """Call the handler of message ID of QUEUE, a dead letter too, and say what it would do.

    It runs in its own process, where nothing is published, stored or settled. The message stays as it is. Ends
    with 1 if the handler fails.
    """
    from tasuki.app.dry_run.report import WARNING
    from tasuki.units import parse_duration

    try:
        seconds = parse_duration(limit)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--limit") from None
    app = target.load()
    source = find_queue(app.check(), queue)
    click.echo(WARNING, err=True)

    async def run() -> DryRun:
        async with app._runtime.reading():
            try:
                with looking_at(source):
                    return await app.jobs.dry_run(source, id, limit=seconds)
            except LookupError as error:
                raise CommandError(str(error.args[0])) from error

    report = loop.run(run())
    if as_json:
        print_json({**dataclasses.asdict(report), "is_good": report.is_good})
    else:
        _show(report)
    return OK if report.is_good or report.outcome in ("snooze", "release") else ERROR


def _show(report: DryRun) -> None:
    click.echo(_verdict(report))
    if report.traceback:
        print_text(f"\n{report.traceback.rstrip()}")
    for warning in report.warnings:
        click.echo(f"careful: {warning}", err=True)
    if report.effects:
        click.echo(f"\nRecorded in place of being done: {count(len(report.effects), 'act')}")
        for effect in report.effects:
            click.echo(f"  {effect_line(effect)}")
    for title, text in (("Log", "\n".join(map(_log_line, report.logs))), ("Output", report.output),
                        ("Errors", report.errors)):  # fmt: skip
        if text.strip():
            click.echo(f"\n{title}:")
            print_text(text.rstrip("\n"))


def _verdict(report: DryRun) -> str:
    who = report.function or report.queue
    took = "" if report.seconds is None else f" in {_took(report.seconds)}"
    if report.is_good:
        return f"done: {who} would end message {report.message}{took}"
    error = " ".join(report.error.split())
    then = {
        "ack": "the message was acked before (auto_ack)",
        "retry": f"it would be retried in {age(report.delay)}",
        "dead_letter": f"it would be a dead letter ({report.reason})",
        "snooze": f"it would go on in {age(report.delay)}",
        "release": "it would go back to the queue",
    }.get(report.outcome, "")
    word = "postponed" if report.outcome in ("snooze", "release") else "failed"
    return f"{word}: {who}{took}: {'; '.join(each for each in (error, then) if each)}"


def _took(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def effect_line(effect: dict[str, Any]) -> str:
    """One recorded act on one line."""
    facts = {name: value for name, value in effect.items() if name != "do" and not _is_empty(name, value)}
    return f"{effect['do']:<12}{'  '.join(f'{name}={preview(value)}' for name, value in facts.items())}"


def _is_empty(name: str, value: Any) -> bool:
    return value is None or value in ("", {}) or (name == "delay" and not value)


def _log_line(record: dict[str, Any]) -> str:
    return f"  {record['level']} {record['logger']}: {record['text']}"
