"""``tasuki edit`` and ``dry-run``: change one message, or run its handler without effects."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.acting import acting, ids_text, looking_at
from tasuki.cli.commands.queues.publish import read_header
from tasuki.cli.exits import ERROR, OK, CommandError
from tasuki.cli.options import json_option, printing, project_options
from tasuki.cli.output import age, count, preview, print_json, print_text
from tasuki.cli.project import Target, find_queue

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.dry_run.report import DryRun
    from tasuki.dead.editing.building import Wanted
    from tasuki.dead.editing.edit import Draft, Editor


_STAYS = "nothing was sent, and the message stays where it is"


def _show_edit(done: dict[str, Any]) -> None:
    if "undone" in done:
        click.echo(f"message {done['id']} is back in {done['queue']}; {done['undone']} is gone")
        return
    for warning in done["warnings"]:
        click.echo(f"careful: {warning}", err=True)
    if done["is_dry_run"]:
        click.echo(f"message {done['edited_from']} of {done['queue']} would go to {done['to']}: it is valid")
        return
    left = "; the old one stays there too" if done["is_kept"] else ""
    click.echo(f"message {done['edited_from']} of {done['queue']} went to {done['to']} as {done['id']}{left}")
    if done["is_undoable"]:
        click.echo(f"undo it within 15 minutes: tasuki edit {done['queue']} {done['id']} --undo", err=True)
    elif not done["is_kept"]:
        click.echo("this edit cannot be undone: the queues have no state, or move no message in one step", err=True)


@click.command("edit")
@click.argument("dead_letters", metavar="DLQ")
@click.argument("id", metavar="ID")
@click.option("--to", metavar="QUEUE", help="Send it there instead.")
@click.option("--body", metavar="JSON", help="Its new body, without an editor.")
@click.option("--file", "path", type=click.Path(dir_okay=False, allow_dash=True), help="The same from a file.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header to set.")
@click.option("--without-header", "without", multiple=True, metavar="NAME", help="A header to remove.")
@click.option("--keep", is_flag=True, help="Leave the old message in DLQ too.")
@click.option("--dry-run", is_flag=True, help="Send nothing; check the message alone.")
@click.option("--undo", "is_undo", is_flag=True, help="Take the edited message ID back, and restore the old one.")
@printing(_show_edit)
@project_options()
def edit_command(
    target: Target, dead_letters: str, id: str, *, to: str | None, dry_run: bool, is_undo: bool, **changes: Any
) -> dict[str, Any]:
    """Change message ID of DLQ, and send it back as a new message, which is checked before anything moves.

    Without --body, --file, --header and --without-header it opens $EDITOR.
    """
    if is_undo and (to or dry_run or any(changes.values())):
        raise click.UsageError("--undo undoes one edit: leave out the other options")
    if changes["body"] is not None and changes["path"]:
        raise click.UsageError("give the new body with --body or with --file, not both")
    app = target.load()
    project = app.check()
    source = find_queue(project, dead_letters)
    destination = find_queue(project, to) if to else None
    if is_undo:
        return loop.run(_undo(app, source, id))
    return loop.run(_edit(app, source, id, destination, changes, is_dry_run=dry_run))


async def _edit(
    app: App, source: str, id: str, to: str | None, changes: dict[str, Any], *, is_dry_run: bool
) -> dict[str, Any]:
    async with app._runtime.reading():
        with looking_at(source):
            await app._runtime.live().queue(source).depth()
        if is_dry_run:
            return await _edit_one(app, source, id, to, changes, is_dry_run=True)
        async with acting(app, "edit", source, source) as outcome:
            outcome.filter = ids_text([id])
            done = await _edit_one(app, source, id, to, changes, is_dry_run=False)
            outcome.count = 1
            return done


async def _edit_one(
    app: App, source: str, id: str, to: str | None, changes: dict[str, Any], *, is_dry_run: bool
) -> dict[str, Any]:
    """Edit a letter and send it; what happened. Raises CommandError: it is not valid, or the user gave up."""
    from tasuki.dead.editing.edit import Editor
    from tasuki.errors import PublishError
    from tasuki.system.process import user_and_host

    editor = Editor(app._runtime.live(), source, clock=app._runtime.clock, actor=user_and_host())
    try:
        draft = await editor.draft(id, to)
    except LookupError as error:
        raise CommandError(str(error.args[0])) from error
    keep = changes["keep"]
    if not any(changes[name] for name in ("body", "path", "headers", "without")):
        return await _in_editor(editor, draft, keep=keep, is_dry_run=is_dry_run)
    try:
        return await _send(editor, draft, _wanted(draft, changes), keep=keep, is_dry_run=is_dry_run)
    except PublishError as error:
        raise CommandError(f"{_STAYS}: {error}") from error


async def _undo(app: App, source: str, id: str) -> dict[str, Any]:
    """Bring a letter back whose edit made a message. Raises CommandError: it cannot be."""
    from tasuki.dead.editing.edit import Editor
    from tasuki.system.process import user_and_host

    async with app._runtime.reading(), acting(app, "edit", source, source) as outcome:
        outcome.filter = f"undo {ids_text([id])}"
        try:
            found = await Editor(app._runtime.live(), source, clock=app._runtime.clock, actor=user_and_host()).undo(id)
        except LookupError as error:
            raise CommandError(str(error.args[0])) from error
        outcome.count = 1
        return {"queue": source, "undone": id, "id": found}


def _wanted(draft: Draft, changes: dict[str, Any]) -> Wanted:
    from tasuki.dead.editing.building import SAME, Wanted

    headers: dict[str, Any] = {**dict.fromkeys(changes["without"]), **dict(map(read_header, changes["headers"]))}
    if changes["path"] is None:
        return Wanted(text=changes["body"], headers=headers)
    path = changes["path"]
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise CommandError(f"{_STAYS}: cannot read the file: {error}") from error
    if draft.shown.form == "json":
        try:
            return Wanted(text=data.decode(), headers=headers)
        except UnicodeDecodeError as error:
            raise CommandError(f"{path}: a body of JSON must be UTF-8: {error}") from error
    return Wanted(data if data is not None else SAME, headers=headers)


async def _send(editor: Editor, draft: Draft, wanted: Wanted, *, keep: bool, is_dry_run: bool) -> dict[str, Any]:
    about = {"queue": draft.dead, "to": draft.to, "edited_from": draft.letter.id, "is_dry_run": is_dry_run}
    made = await editor.check(draft, wanted)
    if is_dry_run:
        return {**about, "id": None, "is_kept": True, "is_undoable": False, "warnings": list(made.warnings)}
    try:
        done = await editor.send(draft, made, keep=keep)
    except LookupError as error:
        raise CommandError(str(error.args[0])) from error
    facts = {"id": done.id, "is_kept": keep, "is_undoable": done.is_undoable, "warnings": list(done.warnings)}
    return {**about, **facts}


async def _in_editor(editor: Editor, draft: Draft, *, keep: bool, is_dry_run: bool) -> dict[str, Any]:
    """Open the editor until the message is valid, or comes back unchanged."""
    from tasuki.dead.editing.building import Wanted
    from tasuki.dead.editing.document import annotated, changes, read, write
    from tasuki.dead.editing.problems import BODY, EditError, Problem
    from tasuki.errors import PublishError

    has_text = draft.shown.form != "bytes"
    opened = write(draft.letter.id, draft.dead, draft.to, draft.headers, draft.shown)
    why = "the text came back unchanged"
    while True:
        # In a thread: the connections to the broker live on meanwhile.
        try:
            document = await asyncio.to_thread(click.edit, opened, extension=".tasuki", require_save=False)
        except (click.ClickException, OSError, UnicodeDecodeError) as error:
            problem = error.message if isinstance(error, click.ClickException) else str(error)
            raise CommandError(f"{_STAYS}: {problem}; name an editor in VISUAL, or give --body or --file") from error
        if document is None or not document.strip() or document.rstrip("\n") == opened.rstrip("\n"):
            raise CommandError(f"{_STAYS}: {why}")
        try:
            found = read(document, has_text=has_text)
            wanted = Wanted(text=found.text, headers=changes(draft.headers, found.headers))
            return await _send(editor, draft, wanted, keep=keep, is_dry_run=is_dry_run)
        except PublishError as error:
            problems = error.problems if isinstance(error, EditError) else (Problem(BODY, str(error)),)
            opened, why = annotated(document, problems), str(error)


@click.command("dry-run")
@click.argument("queue")
@click.argument("id", metavar="ID")
@click.option("--limit", default="30s", show_default=True, metavar="TIME", help="End the handler after this time.")
@json_option
@project_options()
def dry_run_command(target: Target, queue: str, id: str, *, limit: str, as_json: bool) -> int:
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
        _show_dry_run(report)
    return OK if report.is_good or report.outcome in ("snooze", "release") else ERROR


def _show_dry_run(report: DryRun) -> None:
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
