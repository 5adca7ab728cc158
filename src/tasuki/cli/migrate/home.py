"""The module that makes the App and the queues, the one that workers import, and the settings of Django."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tasuki.cli.migrate.project import OldProject, OldTask
from tasuki.cli.migrate.source import SourceFile, literal

HOME, WORKER = "tasuki_app", "tasuki_worker"
_SCHEMES = ("redis", "rediss", "amqp", "amqps", "pyamqp", "nats", "postgresql", "sqlite")
_RULES = 'retry={"never": ["Exception"]}'


@dataclass
class Home:
    """Where the queues are declared; ``fields``: of the consumer of each queue."""

    project: OldProject
    folder: str
    package: str
    url: str
    label: str
    fields: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    """Queue → the name of its variable."""

    @property
    def module(self) -> str:
        """Its dotted name."""
        return f"{self.package}.{HOME}".lstrip(".")

    @property
    def target(self) -> str:
        """What ``tasuki run`` gets."""
        return f"{self.package}.{WORKER}:app".lstrip(".")

    @property
    def command(self) -> str:
        """That runs the workers."""
        return "python manage.py tasuki" if self.project.is_django else f"tasuki run {self.target}"

    def name_queues(self, tasks: Iterable[OldTask]) -> None:
        """Give each queue a variable whose name no file of its tasks has."""
        for task in tasks:
            taken = {name for each in tasks if each.queue == task.queue for name in names_of(each.source)}
            name = re.sub(r"\W", "_", task.queue)
            name = f"queue_{name}" if keyword.iskeyword(name) or not name.isidentifier() else name
            self.variables.setdefault(task.queue, f"{name}_queue" if name in taken or name in ("app", "os") else name)

    def files(self, tasks: Iterable[OldTask]) -> dict[str, str]:
        """Path → text of the modules that are new, or have queues or tasks that are new."""
        home, worker = (str(PurePosixPath(self.folder, f"{name}.py")) for name in (HOME, WORKER))
        made = {home: self._home(self._existing(home))}
        if not self.project.is_django:
            made[worker] = self._worker(self._existing(worker), {task.source.name for task in tasks})
        return made

    def _existing(self, path: str) -> str:
        file = self.project.root / path
        return file.read_text("utf-8") if file.exists() else ""

    def _home(self, text: str) -> str:
        if not text:
            maker = "queue" if self.project.is_django else "App"
            origin = "tasuki.contrib.django" if self.project.is_django else "tasuki"
            head = [f'"""The queues of this project. Workers: {self.command}', ""]
            head += [f"As in {self.label}, an error ends a task, unless the task has rules of its own.", '"""', ""]
            head += ["import os", ""] if "os." in self.url and not self.project.is_django else []
            head += [f"from {origin} import {maker}", ""]
            head += [] if self.project.is_django else [f"app = App({self.url})"]
            text = "\n".join(head) + "\n"
        declare = "queue" if self.project.is_django else "app.queue"
        for queue, name in sorted(self.variables.items()):
            if f"{name} = " not in text:
                text += f'{name} = {declare}("{queue}", dead_letter="{queue}.dead", {_RULES})\n'
                text += f"{name}.task_consumer({self.fields})\n" if self.fields else ""
        return text

    def _worker(self, text: str, modules: set[str]) -> str:
        """The app comes last: a package may be called app."""
        known = {line for line in text.splitlines() if line.startswith("import ")}
        lines = sorted(known | {f"import {module}  # noqa: F401" for module in modules})
        head = [f'"""All tasks, and the app: {self.command}"""', ""]
        return "\n".join([*head, *lines, f"from {self.module} import app as app", ""])


def names_of(source: SourceFile) -> set[str]:
    """All names that a file uses."""
    return {*source.imports, *source.bound, *(each.id for each in ast.walk(source.tree) if isinstance(each, ast.Name))}


def url_of(project: OldProject, source: SourceFile, node: ast.AST | None) -> tuple[str, str]:
    """The text of a broker's address that the new module can read, and the problem of one that it cannot."""
    source, node = project.value(source, node)
    if isinstance(text := literal(node), str):
        scheme = text.partition("://")[0]
        if scheme in _SCHEMES:
            return repr(text.replace("pyamqp://", "amqp://", 1)).replace("'", '"'), ""
        return 'os.environ["QUEUE_URL"]', f"a broker that has no driver here: {scheme}"
    if node is not None and _is_of_environment(node):
        return source.words(node), ""
    return (
        'os.environ["QUEUE_URL"]',
        "the address of the broker is computed" if node else "no address of a broker is found",
    )


def _is_of_environment(node: ast.AST) -> bool:
    names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    calls = (each.func for each in ast.walk(node) if isinstance(each, ast.Call))
    return names == {"os"} and all(isinstance(each, ast.Attribute) and each.attr in ("get", "getenv") for each in calls)


def django_settings(project: OldProject, values: Mapping[str, tuple[SourceFile, ast.expr]]) -> None:
    """Plan the installed app and the setting TASUKI, beside the address of Celery's broker."""
    for source in project.sources:
        apps = source.bound.get("INSTALLED_APPS")
        if apps is None or "tasuki.contrib.django" in source.text:
            continue
        if not isinstance(apps, ast.List | ast.Tuple) or not apps.elts:
            project.note(source, apps, "by hand", "INSTALLED_APPS is computed", 'add "tasuki.contrib.django"')
        else:
            last = source.end(apps.elts[-1])
            indent = "\n" + " " * apps.elts[-1].col_offset if apps.elts[-1].lineno != apps.lineno else " "
            project.change(source, (last, last), f',{indent}"tasuki.contrib.django"', apps, "INSTALLED_APPS")
        given, broker = values.get("broker_url", (source, None))
        if broker is not None and given is source and "TASUKI" not in source.bound:
            statement = next(each for each in (broker, *source.above(broker)) if isinstance(each, ast.stmt))
            end = source.end(statement)
            project.change(source, (end, end), f'\nTASUKI = {{"URL": {source.words(broker)}}}', statement, "TASUKI")
        elif "TASUKI" not in source.bound:
            project.note(source, apps, "by hand", "the address of the broker", 'TASUKI = {"URL": "redis://…"}')
