"""Schedules of Celery: literal times become a decorator above the task; others are listed."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping

from tasuki.cli.migrate.project import OldProject, OldTask
from tasuki.cli.migrate.settings import CelerySettings
from tasuki.cli.migrate.source import SourceFile, literal

_FIELDS = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")
_UNITS = ("days", "seconds", "microseconds", "milliseconds", "minutes", "hours", "weeks")
_SECONDS = dict(zip(_UNITS, (86400, 1, 1e-6, 1e-3, 60, 3600, 604800), strict=True))


def read_schedules(project: OldProject, settings: CelerySettings) -> None:
    """Move each entry of ``beat_schedule`` above its task."""
    if "beat_schedule" not in settings.values:
        return
    source, table = settings.values["beat_schedule"]
    if not isinstance(table, ast.Dict):
        project.note(source, table, "by hand", "schedules that are computed", "@jobs.cron('…') above the task")
        for each in project.tasks.values():
            each.stays = True
        return
    zone = settings.literal("timezone")
    if zone is ... and "timezone" in settings.values and source.words(settings.values["timezone"][1]) != "TIME_ZONE":
        project.note(
            *settings.values["timezone"], "check", "the time zone of schedules is computed", "@jobs.cron('…', tz=…)"
        )
    entries = [
        (key, value, _task(project, settings, value)) for key, value in zip(table.keys, table.values, strict=True)
    ]
    often = Counter(task for _, _, task in entries)
    kept: list[tuple[ast.expr | None, ast.expr, OldTask | None]] = []
    for key, value, task in entries:
        if task is None:
            project.note(source, key or value, "by hand", "a schedule of a task that is not in this project", "")
            kept.append((key, value, None))
            continue
        name = str(literal(key)) if often[task] > 1 else ""
        decorator = _decorator(project, source, value, task, zone if isinstance(zone, str) else None, name)
        if decorator:
            assert task.decorator is not None
            start = task.source.start(task.decorator) - 1  # the @
            project.change(task.source, (start, start), f"{decorator}\n", task.decorator, decorator, task)
        kept.append((key, value, task))
    project.tables.append((source, table, kept))


def _task(project: OldProject, settings: CelerySettings, entry: ast.expr) -> OldTask | None:
    return settings.task_named(project, literal(_of(entry, "task")))


def _of(entry: ast.expr, name: str) -> ast.expr | None:
    if not isinstance(entry, ast.Dict):
        return None
    return next((value for key, value in zip(entry.keys, entry.values, strict=True) if literal(key) == name), None)


def _decorator(
    project: OldProject, source: SourceFile, entry: ast.expr, task: OldTask, zone: str | None, name: str
) -> str:
    """The new decorator; empty: it is noted why not."""
    write = "@jobs.cron('0 3 * * *') or @jobs.every('10m') above the task"
    when = _when(project, source, _of(entry, "schedule"), zone)
    given, named, options = (literal(_of(entry, each)) for each in ("args", "kwargs", "options"))
    parameters = [each.arg for each in task.function.args.args][task.is_bound :]
    if not when:
        project.note(source, entry, "by hand", "a schedule whose time is computed, or is no crontab", write, task)
    elif any(_of(entry, each) is not None and value is ... for each, value in (("args", given), ("kwargs", named))):
        project.note(source, entry, "by hand", "arguments of a schedule that are computed", write, task)
    elif _of(entry, "options") is not None and not (isinstance(options, dict) and options.keys() <= {"queue"}):
        project.note(source, entry, "by hand", "options of a schedule", write, task)
    else:
        body: dict[str, object] = dict(zip(parameters, given if isinstance(given, list | tuple) else (), strict=False))
        body |= named if isinstance(named, dict) else {}
        more = [f"args={body!r}"] if body else []
        more += [f"name={name!r}"] if name else []
        return f"@{{queue}}.{when}{''.join(', ' + each for each in more)})"
    return ""


def _when(project: OldProject, source: SourceFile, node: ast.expr | None, zone: str | None) -> str:
    """``cron("…"`` or ``every(…``, without the end; empty: it is not a literal time."""
    if isinstance(node, ast.Call):
        origin = project.origin(source, node.func)
        names = {"celery.schedules.crontab": _FIELDS, "datetime.timedelta": _UNITS}.get(origin, ())
        given = {**dict(zip(names, node.args, strict=False)), **{str(each.arg): each.value for each in node.keywords}}
        values = {name: literal(value) for name, value in given.items()}
        if not names or not values.keys() <= set(names) or ... in values.values():
            return ""
        if names is _FIELDS:
            return _cron(values, zone)
        total = sum((float(str(value)) * _SECONDS[name] for name, value in values.items()), 0.0)
    else:
        value = literal(node)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        total = float(str(value)) if is_number else 0.5
    return f"every({int(total)}" if total.is_integer() else ""


def _cron(values: Mapping[str, object], zone: str | None) -> str:
    from tasuki.schedules.cron import Cron

    fields = {name: _field(values.get(name, "*")) for name in _FIELDS}
    if not any(fields[each].startswith("*") for each in ("day_of_week", "day_of_month")):
        return ""  # cron runs it on days that are one of the two, Celery on days that are both
    order = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    text = " ".join(fields[each] for each in order)
    try:
        Cron(text)
    except ValueError:
        return ""
    return f'cron("{text}"' + (f', tz="{zone}"' if zone else "")


def _field(value: object) -> str:
    if isinstance(value, list | tuple | set):
        return ",".join(map(str, sorted(value, key=str)))
    return str(value).replace(" ", "").lower()
