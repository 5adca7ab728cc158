"""Settings of Celery that queues, workers and schedules need: in ``app.conf``, a module or Django's settings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tasuki.cli.migrate.project import OldProject, OldTask
from tasuki.cli.migrate.source import SourceFile, literal

_PREFIX = re.compile(r"(CELERY|celery)_?(?=[A-Za-z])")
_OLD = {"CELERYBEAT_SCHEDULE": "beat_schedule", "BROKER_URL": "broker_url", "CELERYD_CONCURRENCY": "worker_concurrency"}
USED = (
    "task_cls",
    "broker_url",
    "broker",
    "beat_schedule",
    "timezone",
    "task_default_queue",
    "task_routes",
    "worker_concurrency",
)
_CHANGED = {
    "task_always_eager": "tests use TestApp, which runs the real queue in memory",
    "task_serializer": "bodies are JSON; codec='msgpack' at the queue carries bytes",
    "task_time_limit": "jobs.task_consumer(handler_timeout=…)",
    "task_soft_time_limit": "jobs.task_consumer(handler_timeout=…)",
    "task_annotations": "options of each task",
    "result_backend": "result='1h' at the queue, if results are read",
    "worker_max_tasks_per_child": "tasuki run --max-messages",
    "worker_max_memory_per_child": "tasuki run --max-memory",
    "task_queues": "app.queue(…) for each",
    "beat_scheduler": "schedules are in code: @jobs.cron('…') above the task",
    "task_default_rate_limit": "limit='10/m' at the queue, over all workers",
}


@dataclass
class CelerySettings:
    """Each by its new name, with the file and the node of its value."""

    values: dict[str, tuple[SourceFile, ast.expr]] = field(default_factory=dict)

    def literal(self, name: str) -> object:
        """The value of one; Ellipsis: not given, or no literal."""
        return literal(self.values[name][1]) if name in self.values else ...

    @property
    def default_queue(self) -> str:
        """The queue of tasks that name none."""
        name = self.literal("task_default_queue")
        return name if isinstance(name, str) else "jobs"

    def route(self, name: str, queue: str) -> str:
        """The queue of a task by ``task_routes``."""
        routes = self.literal("task_routes")
        for pattern, route in routes.items() if isinstance(routes, dict) else ():
            found = route.get("queue") if isinstance(route, Mapping) else route
            if fnmatchcase(name, str(pattern)) and isinstance(found, str):
                return found
        return queue

    def task_named(self, project: OldProject, name: object) -> OldTask | None:
        """The task that has this name for Celery."""
        for task in project.tasks.values():
            if name in (task.name, f"{task.source.name}.{task.function.name}"):
                return task
        return None


def read_settings(project: OldProject, apps: Mapping[str, tuple[SourceFile, ast.Assign]]) -> CelerySettings:
    """Read all settings, and note those whose meaning changes."""
    settings = CelerySettings()
    for source, name, value in _settings(project, apps):
        if name in USED and not (name == "beat_schedule" and source.words(value).endswith("BEAT_SCHEDULE")):
            settings.values.setdefault("broker_url" if name == "broker" else name, (source, value))
        if name == "task_routes" and literal(value) is ...:
            project.note(
                source, value, "by hand", "routes that are computed", "@mails.task: a queue for each kind of work"
            )
        elif name in _CHANGED and literal(value) is not None:
            project.note(source, value, "check", f"the setting {name}", _CHANGED[name])
    return settings


def _settings(project: OldProject, apps: Mapping[str, object]) -> Iterator[tuple[SourceFile, str, ast.expr]]:
    """File, new name and value of each setting."""
    for source in project.sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Assign):
                yield from _assigned(project, source, node, apps)
            elif isinstance(node, ast.Call):
                origin = project.origin(source, node.func)
                name = origin.removesuffix(".conf.update")
                if origin == "celery.Celery" or (name != origin and name in apps):
                    if origin == "celery.Celery" and len(node.args) > 2:
                        yield source, "broker_url", node.args[2]
                    yield from ((source, _new_name(each.arg), each.value) for each in node.keywords if each.arg)
                    yield from _items(source, node)


def _assigned(
    project: OldProject, source: SourceFile, node: ast.Assign, apps: Mapping[str, object]
) -> Iterator[tuple[SourceFile, str, ast.expr]]:
    for target in node.targets:
        if isinstance(target, ast.Name) and (_PREFIX.match(target.id) or target.id in _OLD):
            yield source, _new_name(target.id), node.value
        elif isinstance(target, ast.Attribute):
            app, _, name = project.origin(source, target).partition(".conf.")
            if name and app in apps:
                yield source, _new_name(name), node.value


def _items(source: SourceFile, call: ast.Call) -> Iterator[tuple[SourceFile, str, ast.expr]]:
    for given in call.args:
        if isinstance(given, ast.Dict):
            for key, value in zip(given.keys, given.values, strict=True):
                if isinstance(key, ast.Constant):
                    yield source, _new_name(str(key.value)), value


def _new_name(name: str) -> str:
    return _OLD.get(name) or _PREFIX.sub("", name).lower()
