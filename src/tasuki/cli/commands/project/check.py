"""``tasuki check``: everything that is wrong with a project, at once."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.exits import CONFIG, OK, CommandError, show_error
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import count, print_json
from tasuki.cli.project import Target, place_of
from tasuki.errors import ConfigError, ProjectError, TasukiError
from tasuki.units import format_duration, format_size

if TYPE_CHECKING:
    from tasuki.fields.types import Config
    from tasuki.kinds.check.project import Project
    from tasuki.kinds.check.warnings import ConfigWarning


@click.command("check")
@click.option("--import", "modules", multiple=True, hidden=True)
@click.option("--functions", is_flag=True, help="With --json: the functions of a good project and their isolation.")
@json_option
@project_options(is_argument=True)
def command(target: Target, modules: tuple[str, ...], *, functions: bool, as_json: bool) -> int:
    """Check the project TARGET (a folder, a YAML or Python file, or package.module:app); nothing is started.

    With --json: the errors, or the warnings of a good project, which have 'severity: warning'.
    """
    from tasuki.kinds.check.code import problems_of_code
    from tasuki.kinds.check.warnings import warnings_of

    try:
        project = target.load().check()
        if problems := problems_of_code(project):
            raise ProjectError(problems)
        _import(modules)
    except (ProjectError, ConfigError, CommandError) as error:
        if as_json:
            print_json([_as_dict(problem) for problem in _problems(error)])
        else:
            show_error(error)
        return CONFIG
    if as_json and functions:
        print_json(isolations(project))
    elif as_json:
        print_json([{**_as_dict(warning), "severity": "warning"} for warning in warnings_of(project)])
    else:
        click.echo("\n  ".join([_summary(project), *map(_isolation, isolations(project))]))
        for warning in warnings_of(project):
            click.echo(f"warning: {warning}", err=True)
    return OK


def isolations(project: Project) -> list[dict[str, Any]]:
    """How each function is kept from the worker, by id; ``workers``: threads or processes, None: as the kind says."""
    from tasuki.kinds.entries.function import LuaFunctionConfig, PythonFunctionConfig

    return [
        {
            "id": id,
            "kind": project.kinds[id].name,
            "isolation": config.isolation,
            "workers": config.pool.workers if config.pool else None,
            "memory": config.limits.memory if config.limits else None,
            "time": config.limits.time if config.limits else None,
        }
        for id, config in sorted(project.configs.items())
        if isinstance(config, LuaFunctionConfig | PythonFunctionConfig)
    ]


def _isolation(of: dict[str, Any]) -> str:
    parts = [f"isolation {of['isolation']}"]
    if of["workers"] is not None:
        parts.append(count(of["workers"], {"shared": "thread", "process": "process"}[of["isolation"]]))
    elif of["isolation"] == "process":
        parts.append("up to 8 processes")
    if of["memory"] is not None:
        parts.append(format_size(of["memory"]))
    if of["time"] is not None:
        parts.append(format_duration(of["time"]))
    return f"{of['id']}: {', '.join(parts)}"


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

    kinds: dict[str, type[Config]] = {"queue": QueueConfig, "consumer": ConsumerConfig, "worker pool": WorkerConfig}
    counts = {"entry": len(project.configs), **{noun: len(project.of(type_)) for noun, type_ in kinds.items()}}
    return "ok: " + ", ".join(count(number, noun) for noun, number in counts.items() if number or noun != "worker pool")


def _import(modules: tuple[str, ...]) -> None:
    """What ``run --reload`` asks for before it dares to restart: do the changed modules still import?"""
    for module in modules:
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:
            raise CommandError(f"cannot import {module}: {place_of(error)}", code=CONFIG) from error
