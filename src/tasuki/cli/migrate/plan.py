"""From the places to new texts: decide which tasks move, change the files, and add the new ones."""

from __future__ import annotations

import ast
import difflib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasuki.cli.migrate.celery import CeleryProject
from tasuki.cli.migrate.home import Home, django_settings, url_of
from tasuki.cli.migrate.project import OldPlace, OldProject, OldTask
from tasuki.cli.migrate.rq import RQ
from tasuki.cli.migrate.scripts import read_scripts
from tasuki.cli.migrate.source import SourceFile
from tasuki.cli.migrate.tidy import apply, tidied

LIBRARIES: dict[str, Callable[[OldProject], Any]] = {"celery": CeleryProject, "rq": RQ}


@dataclass
class Migration:
    """What becomes of a project. ``texts``: path → its new text."""

    label: str
    root: Path
    tasks: list[OldTask]
    places: list[OldPlace]
    home: Home | None
    texts: dict[str, str] = field(default_factory=dict)
    old: dict[str, str] = field(default_factory=dict)
    encodings: dict[str, str] = field(default_factory=dict)

    @property
    def moving(self) -> list[OldTask]:
        """The tasks that move as they are."""
        return [task for task in self.tasks if not task.stays]

    @property
    def by_hand(self) -> list[OldPlace]:
        """Places that nothing rewrites."""
        return [place for place in self.places if place.state == "by hand"]

    def patch(self) -> str:
        """All changes as a unified diff, for ``git apply``."""
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for path, text in sorted(self.texts.items())
            for line in difflib.unified_diff(
                self.old.get(path, "").splitlines(keepends=True),
                text.splitlines(keepends=True),
                f"a/{path}" if path in self.old else "/dev/null",
                f"b/{path}",
            )
        )

    def steps(self) -> list[str]:
        """The next steps, up to production."""
        if self.home is None:
            return []
        is_django = self.home.project.is_django
        elsewhere = sorted({task.source.name for task in self.moving if task.source.parts[-1:] != ("tasks",)})
        steps = ["install tasuki with the client of your broker, as in pip install 'tasuki[redis]'"]
        if is_django and elsewhere:
            steps.append(f"workers import tasks.py of installed apps: import there {', '.join(elsewhere)}")
        if not is_django:
            steps.append(f"test with {self.home.module}.app: with TestApp(app) as t: … t.sync.drain()")
        return [
            *steps,
            "make tasks idempotent: a message is acked after its task, so a killed worker's task runs again",
            "workers run one task of a queue at a time: --concurrency 4 is four threads, --processes 4 four processes",
            f"start the new workers: {self.home.command}",
            f"let {self.label}'s workers run until its queues are empty, delayed messages included; then stop them",
        ]

    def write(self) -> None:
        """Write all new texts. Raises OSError."""
        for path, text in self.texts.items():
            (self.root / path).write_bytes(text.encode(self.encodings.get(path, "utf-8")))


def plan(library: str, root: Path) -> Migration:
    """Read a project and plan its way over.

    Raises OSError: it cannot be read.
    """
    project = OldProject(root)
    reader = LIBRARIES[library](project)
    _refuse_overlaps(project)
    tasks = list(project.tasks.values())
    made = Migration(reader.label, project.root, tasks, project.places, None)
    made.old = {source.shown: source.text for source in project.sources}
    texts: dict[str, str] = {}
    if made.moving:
        made.home = _home(project, reader, made.moving)
        if project.is_django:
            django_settings(project, reader.settings.values)
        _declare(project, made.home, made.moving)
        texts = made.home.files(made.moving)
    texts |= _changed(project, made.home)
    if texts or not tasks:
        texts |= tidied(LIBRARIES[library], project, root, texts)
    if made.home:
        scripts = read_scripts(library, made.home, stays=len(made.moving) < len(tasks))
        made.old |= {path: before for path, (before, _) in scripts.items()}
        texts |= {path: after for path, (_, after) in scripts.items()}
    made.texts = {path: text for path, text in texts.items() if text != made.old.get(path, _read(project, path))}
    for path in made.texts:
        made.old.setdefault(path, _read(project, path)) if (project.root / path).exists() else None
    made.places.sort(key=lambda place: (place.file, place.line, place.column))
    made.encodings = {source.shown: source.encoding for source in project.sources}
    return made


def _read(project: OldProject, path: str) -> str:
    file = project.root / path
    return file.read_text("utf-8") if file.exists() else ""


def _refuse_overlaps(project: OldProject) -> None:
    """Keep tasks whose changes would write over each other, as in a call within the arguments of another."""
    for source in project.sources:
        end, last = 0, None
        for change in sorted(
            (each for each in project.changes if each.source is source), key=lambda each: (each.start, -each.end)
        ):
            if change.start < end and last is not None:
                for task in filter(None, {change.task, last.task}):
                    where = change.place or last.place
                    project.note(
                        source,
                        task.function,
                        "by hand",
                        f"a call within another one{f' in line {where.line}' if where else ''}",
                        "assign the inner one to a name",
                        task,
                    )
            if change.end > end:
                end, last = change.end, change


def _home(project: OldProject, reader: Any, moving: list[OldTask]) -> Home:
    anchor, address = reader.anchor()
    url, problem = ('""', "") if project.is_django else url_of(project, *address)
    folder = anchor.shown.rpartition("/")[0]
    package = anchor.name if anchor.is_package else anchor.name.rpartition(".")[0]
    home = Home(project, folder, package, url, reader.label, reader.fields)
    if problem:
        project.note(anchor, anchor.tree.body[0], "check", problem, f"set QUEUE_URL, or write it in {home.module}")
    home.name_queues(moving)
    return home


def _declare(project: OldProject, home: Home, moving: list[OldTask]) -> None:
    """Plan the new decorators. A name that a queue has twice becomes a longer one."""
    names = Counter((task.queue, task.name or task.function.name) for task in moving)
    for task in moving:
        name = task.name
        if names[task.queue, name or task.function.name] > 1:
            name = f"{task.source.name}.{name or task.function.name}"
        rules = {**({"name": f'"{name}"'} if name else {}), **task.rules}
        text = f"{home.variables[task.queue]}.task"
        if rules:
            text += f"({', '.join(f'{key}={value}' for key, value in rules.items())})"
        if task.decorator is not None:
            project.change(task.source, task.decorator, text, task.decorator, f"@{text}", task)
            continue
        first = task.function.decorator_list[0] if task.function.decorator_list else task.function
        start = task.source.line_start(first.lineno)
        project.change(task.source, (start, start), f"@{text}\n", task.function, f"@{text}", task)


def _changed(project: OldProject, home: Home | None) -> dict[str, str]:
    """Path → text with the changes of all tasks that move; the places of these changes are listed."""
    texts: dict[str, str] = {}
    for source, table, entries in project.tables:
        kept = [(key, value) for key, value, task in entries if task is None or task.stays]
        if len(kept) < len(entries):
            shown = "".join(
                f"    {source.words(key) if key else '**'}: {source.words(value)},\n" for key, value in kept
            )
            project.change(source, table, f"{{\n{shown}}}" if kept else "{}", table, "schedules are above their tasks")
    for change in project.changes:
        if change.place is not None:
            change.place.state = "stays" if change.task and change.task.stays else "rewritten"
            project.places.append(change.place)
    for source in project.sources:
        made = [each for each in project.changes if each.source is source and not (each.task and each.task.stays)]
        if not made:
            continue
        text = apply(source, made, home.variables if home else {})
        queues = {home.variables[each.task.queue] for each in made if home and each.task and each.task.source is source}
        texts[source.shown] = _with_imports(project, source, text, home, queues)
    return texts


def _with_imports(project: OldProject, source: SourceFile, text: str, home: Home | None, queues: set[str]) -> str:
    """The text with imports of what it newly uses, after its first imports."""
    new = source.with_text(text)
    used = {each.id for each in ast.walk(new.tree) if isinstance(each, ast.Name)} - set(new.imports)
    lines = ["import logging"] if "logging" in used & project.needs.get(source, set()) else []
    if names := sorted(used & project.needs.get(source, set()) - {"logging"}):
        lines.append(f"from tasuki import {', '.join(names)}")
    if home and (names := sorted(queues & used)):
        lines.append(f"from {home.module} import {', '.join(names)}")
    if not lines:
        return text
    at = 0
    for node in new.tree.body:
        is_doc = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not (is_doc or isinstance(node, ast.Import | ast.ImportFrom)):
            break
        at = new.line_start((node.end_lineno or node.lineno) + 1)
    newline = "\r\n" if "\r\n" in text else "\n"
    lines += [] if new.imports or text[at:].startswith(("\r", "\n")) else ["", ""]
    return text[:at] + "".join(line + newline for line in lines) + text[at:]
