"""``tasuki check``: everything that is wrong with a project, at once."""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.exits import CONFIG, OK, CommandError, show_error
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import count, print_json
from tasuki.cli.project import Target, place_of
from tasuki.errors import ConfigError, ProjectError, TasukiError
from tasuki.units import format_duration, format_size

if TYPE_CHECKING:
    from tasuki.kinds.check.project import Project
    from tasuki.kinds.check.warnings import ConfigWarning


@dataclass(frozen=True, slots=True)
class Isolation:
    """How a function is kept from the worker; ``workers``: threads or processes, None: as the kind says."""

    id: str
    kind: str
    isolation: str
    workers: int | None
    memory: int | None
    time: float | None

    def __str__(self) -> str:
        """One line for people."""
        of = {"shared": "thread", "process": "process"}[self.isolation]
        parts = [f"isolation {self.isolation}"]
        if self.workers is not None:
            parts.append(count(self.workers, of).replace("processs", "processes"))
        elif self.isolation == "process":
            parts.append("up to 8 processes")
        if self.memory is not None:
            parts.append(format_size(self.memory))
        if self.time is not None:
            parts.append(format_duration(self.time))
        return f"{self.id}: {', '.join(parts)}"

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def isolations(project: Project) -> list[Isolation]:
    """Of every function of a project, by id."""
    from tasuki.kinds.entries.function import LuaFunctionConfig, PythonFunctionConfig

    found = []
    for id, config in sorted(project.configs.items()):
        if isinstance(config, LuaFunctionConfig | PythonFunctionConfig):
            limits = config.limits
            found.append(
                Isolation(
                    id,
                    project.kinds[id].name,
                    config.isolation,
                    config.pool.workers if config.pool else None,
                    limits.memory if limits else None,
                    limits.time if limits else None,
                )
            )
    return found


@click.command("check")
@click.option("--import", "modules", multiple=True, hidden=True)
@click.option("--functions", is_flag=True, help="With --json: the functions of a good project and their isolation.")
@json_option
@project_options(is_argument=True)
def command(target: Target, modules: tuple[str, ...], *, functions: bool, as_json: bool) -> int:
    """Check the project TARGET (a folder, a YAML file or package.module:app; default '.'); nothing is started.

    With --json: the errors, or the warnings of a good project, which have 'severity: warning'.
    """
    try:
        project = target.load().check()
        _read_code(project)
        _import(modules)
    except (ProjectError, ConfigError, CommandError) as error:
        if as_json:
            print_json([_as_dict(problem) for problem in _problems(error)])
        else:
            show_error(error)
        return CONFIG
    from tasuki.kinds.check.warnings import warnings_of

    if as_json and functions:
        print_json([each.as_dict() for each in isolations(project)])
    elif as_json:
        print_json([{**_as_dict(warning), "severity": "warning"} for warning in warnings_of(project)])
    else:
        click.echo(_summary(project))
        for each in isolations(project):
            click.echo(f"  {each}")
        for warning in warnings_of(project):
            click.echo(f"warning: {warning}", err=True)
    return OK


def _problems(error: TasukiError) -> list[ConfigError]:
    """A module that cannot be imported is a problem without a place."""
    if isinstance(error, ProjectError):
        return error.errors
    return [error if isinstance(error, ConfigError) else ConfigError(str(error))]


def _as_dict(problem: ConfigError | ConfigWarning) -> dict[str, Any]:
    """An unknown part of the position is None."""
    position = problem.position
    return {
        "file": position.file if position else None,
        "line": (position.line or None) if position else None,
        "column": (position.column or None) if position else None,
        "entry": problem.entry or None,
        "message": problem.problem,
        "hint": problem.hint or None,
    }


def _summary(project: Project) -> str:
    from tasuki.kinds.entries.consumer import ConsumerConfig
    from tasuki.kinds.entries.queue import QueueConfig
    from tasuki.kinds.entries.worker import WorkerConfig

    workers = len(project.of(WorkerConfig))
    parts = [
        count(len(project.configs), "entry").replace("entrys", "entries"),
        count(len(project.of(QueueConfig)), "queue"),
        count(len(project.of(ConsumerConfig)), "consumer"),
        *([count(workers, "worker pool")] if workers else []),
    ]
    return f"ok: {', '.join(parts)}"


def _read_code(project: Project) -> None:
    from tasuki.kinds.check.code import problems_of_code

    if problems := problems_of_code(project):
        raise ProjectError(problems)


def _import(modules: tuple[str, ...]) -> None:
    """What ``run --reload`` asks for before it dares to restart: do the changed modules still import?"""
    for module in modules:
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:
            raise CommandError(f"cannot import {module}: {place_of(error)}", code=CONFIG) from error
