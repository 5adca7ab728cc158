"""Django's system checks: all that ``tasuki check`` finds, and the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from tasuki.contrib.django.celery.schedules import declare_schedules
from tasuki.contrib.django.project import project_app
from tasuki.contrib.django.tasks.queues import declare_backends
from tasuki.errors import ConfigError, ProjectError, TasukiError
from tasuki.kinds.entries.schedule import ScheduleConfig

if TYPE_CHECKING:
    from tasuki.kinds.check.project import Project


def check_project(app_configs: object = None, **options: object) -> list[Any]:
    """The mistakes of the setting (tasuki.E001), of the project (E002), and its warnings (W001).

    A warning about a broker's client that is not installed here counts too: the same settings run the worker.
    """
    from tasuki.kinds.check.code import problems_of_code
    from tasuki.kinds.check.warnings import warnings_of

    try:
        app = project_app()
        declare_backends()
        declare_schedules()
        project = app.check()
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="tasuki.E001")]
    except ProjectError as error:
        return [_error(problem) for problem in error.errors]
    except TasukiError as error:
        return [_error(error if isinstance(error, ConfigError) else ConfigError(str(error)))]
    found = [_error(problem) for problem in problems_of_code(project)]
    found += _in_another_zone(project)
    if not project.configs:  # nothing is declared yet: a new project is no mistake
        return found
    return found + [
        checks.Warning(warning.problem, hint=warning.hint, obj=_place(warning), id="tasuki.W001")
        for warning in warnings_of(project)
    ]


def _in_another_zone(project: Project) -> list[Any]:
    """A warning for each cron expression that is read in UTC by default, where TIME_ZONE is another one."""
    zone = settings.TIME_ZONE
    if zone in (None, "UTC", "Etc/UTC"):
        return []
    return [
        checks.Warning(
            f"cron {config.cron!r} is read in UTC, and TIME_ZONE is {zone!r}",
            hint=f"write timezone: {zone}, or UTC (in code tz={zone!r})",
            obj=": ".join(str(part) for part in (entry.positions.get(()), id) if part),
            id="tasuki.W002",
        )
        for id, config in project.of(ScheduleConfig).items()
        if config.cron is not None and "timezone" not in config.model_fields_set
        for entry in [project.registry.entries[id]]
    ]


def _error(problem: ConfigError) -> Any:
    return checks.Error(problem.problem, hint=problem.hint or None, obj=_place(problem), id="tasuki.E002")


def _place(problem: Any) -> str | None:
    """``file:line:column: entry``; the known parts."""
    return ": ".join(str(part) for part in (problem.position, problem.entry) if part) or None
