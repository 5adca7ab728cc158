"""``tasuki init`` and ``check``: make a project, and find everything that is wrong with one."""

from __future__ import annotations

import importlib
import re
import shlex
from importlib.resources import files
from pathlib import Path
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


_TEMPLATES = {
    "python": ("an app in Python; the default", ("every", "python"), ("pip install pytest", "pytest", "tasuki run")),
    "yaml": ("entries in YAML, handlers in Python", ("every", "yaml"), ("tasuki test", "tasuki run")),
    "lua": ("entries in YAML, handlers in Lua", ("every", "lua"), ("tasuki test", "tasuki run")),
    "fastapi": (
        "an app in Python, and a web application",
        ("every", "python", "fastapi"),
        (
            "pip install fastapi uvicorn httpx2 pytest",
            "pytest",
            "uvicorn web:web    # publishes, in a first terminal",
            "tasuki run         # handles, in a second one",
        ),
    ),
}
"""Name → what it is, the folders of its files (a later one wins), and the commands that come next."""

_RENAMED = {"gitignore": ".gitignore", "dockerignore": ".dockerignore"}

_NAME = "__name__"


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--python", "template", flag_value="python", default="python", help=_TEMPLATES["python"][0])
@click.option("--yaml", "template", flag_value="yaml", help=_TEMPLATES["yaml"][0])
@click.option("--lua", "template", flag_value="lua", help=_TEMPLATES["lua"][0])
@click.option("--fastapi", "template", flag_value="fastapi", help=_TEMPLATES["fastapi"][0])
def init_command(folder: Path, template: str) -> None:
    """Make a project in the new or empty folder DIR: a durable queue, its handler and a passing test."""
    if folder.is_dir() and any(folder.iterdir()):
        raise CommandError(f"{str(folder)!r} is not empty; name a new folder")
    _, sources, steps = _TEMPLATES[template]
    name = re.sub(r"[^A-Za-z0-9]+", "-", folder.resolve().name).strip("-") or "project"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source in sources:
            for file in files("tasuki.cli").joinpath("template", source).iterdir():
                if file.is_file():
                    text = file.read_text(encoding="utf-8").replace(_NAME, name)
                    (folder / _RENAMED.get(file.name, file.name)).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {error.filename or str(folder)!r}: {error.strerror or error}") from error
    click.echo("\n  ".join((f"made {folder}; next:", f"cd {shlex.quote(str(folder))}", *steps)))


@click.command("check")
@click.option("--import", "modules", multiple=True, hidden=True)
@click.option("--functions", is_flag=True, help="With --json: the functions of a good project and their isolation.")
@json_option
@project_options(is_argument=True)
def check_command(target: Target, modules: tuple[str, ...], *, functions: bool, as_json: bool) -> int:
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
    from tasuki.kinds.entries.consumer import ConsumerConfig, WorkerConfig
    from tasuki.kinds.entries.queue import QueueConfig

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
