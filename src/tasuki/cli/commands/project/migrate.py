"""``tasuki migrate``: moves a project from Celery or RQ, and lists what only a person can decide."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.exits import ERROR, OK, CommandError
from tasuki.cli.options import json_option
from tasuki.cli.output import count, print_json, print_text

if TYPE_CHECKING:
    from tasuki.cli.migrate.plan import Migration
    from tasuki.cli.migrate.project import OldPlace


@click.command("migrate")
@click.argument("library", type=click.Choice(["celery", "rq"]))
@click.argument("folder", metavar="PROJECT", type=click.Path(exists=True, path_type=Path))
@click.option("--write", "writes", is_flag=True, help="Write the changes into the files.")
@click.option("--patch", "shows_patch", is_flag=True, help="Print only the changes, as a patch for git apply.")
@json_option
def migrate_command(library: str, folder: Path, *, writes: bool, shows_patch: bool, as_json: bool) -> int:
    """Move PROJECT, a folder or a file, from another library to Tasuki, as far as its code says what it means.

    It reads source files only: it imports nothing and needs no broker. A task moves together with all of its calls, or
    stays as it is. Without --write nothing is changed. The exit code is 1 if a place has to be changed by hand.
    """
    from tasuki.cli.migrate.plan import plan

    try:
        made = plan(library, folder)
        if writes:
            made.write()
    except OSError as error:
        raise CommandError(f"cannot use {error.filename or str(folder)!r}: {error.strerror or error}") from error
    if as_json:
        print_json(_document(made))
    elif shows_patch:
        print_text(made.patch())
    else:
        _show(made, writes=writes)
    return ERROR if made.by_hand else OK


def _document(made: Migration) -> dict[str, Any]:
    return {
        "verdict": _verdict(made),
        "tasks": [
            {
                "name": task.function.name,
                "file": task.source.shown,
                "line": task.function.lineno,
                "queue": task.queue,
                "moves": not task.stays,
            }
            for task in made.tasks
        ],
        "places": [
            {name: getattr(place, name) for name in ("file", "line", "column", "state", "what", "write", "task")}
            for place in made.places
        ],
        "patch": made.patch(),
        "steps": made.steps(),
    }


def _verdict(made: Migration) -> str:
    if not made.tasks:
        return f"found no task of {made.label}"
    moving, tasks = len(made.moving), len(made.tasks)
    verdict = f"{moving} of {count(tasks, 'task')} {'moves as it is' if moving == 1 else 'move as they are'}"
    if tasks > moving:
        left = tasks - moving
        verdict += f"; {left} {'stays' if left == 1 else 'stay'} on {made.label} until you change the places by hand"
    return verdict


def _show(made: Migration, *, writes: bool) -> None:
    """The verdict, the places by hand and to check, how many are rewritten in each file, and the next steps."""
    click.echo(_verdict(made))
    _show_places("Change by hand", made.by_hand)
    _show_places("Check", [place for place in made.places if place.state == "check"])
    files = Counter(place.file for place in made.places if place.state == "rewritten")
    if made.texts:
        done = "Rewritten" if writes else "Can be rewritten"
        click.echo(f"\n{done}: {count(sum(files.values()), 'place')} in {count(len(files), 'file')}")
    for path in sorted(made.texts):
        other = "imports" if path in made.old else "new"
        print_text(f"  {path}: {count(files[path], 'place') if path in files else other}")
    for number, step in enumerate(made.steps(), 1):
        print_text(("\nGo live\n" if number == 1 else "") + f"  {number}. {step}")
    if made.texts and not writes:
        click.echo("\nNothing is changed yet: --patch prints the changes, --write makes them.")


def _show_places(title: str, places: list[OldPlace]) -> None:
    """Places of one kind in one file are one line."""
    groups: dict[tuple[str, ...], list[OldPlace]] = defaultdict(list)
    for place in places:
        groups[place.what, place.write, place.file].append(place)
    if places:
        click.echo(f"\n{title}: {count(len(places), 'place')}")
    for (what, write, file), (first, *others) in groups.items():
        tasks = ", ".join(dict.fromkeys(place.task for place in (first, *others) if place.task))
        print_text(f"  {file}:{first.line}:{first.column}: {tasks}{': ' if tasks else ''}{what}")
        if others:
            print_text(f"      also in line{'s' * (len(others) > 1)} {', '.join(str(place.line) for place in others)}")
        if write:
            print_text(f"      write: {write}")
