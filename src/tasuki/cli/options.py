"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import click

from tasuki.cli.project import Target

F = TypeVar("F", bound=Callable[..., Any])

Level = Literal["debug", "info", "warning", "error"]
LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("auto", "text", "json")


def json_option(function: F) -> F:
    """``--json``: the command gets ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(function)


def log_options(default: Level = "warning") -> Callable[[F], Callable[..., Any]]:
    """``--log-level`` and ``--log-format``: the logs are set up before the command runs."""

    def decorate(function: F) -> Callable[..., Any]:
        @click.option("--log-level", type=click.Choice(LEVELS), default=default, show_default=True, help="What to log.")
        @click.option(
            "--log-format",
            type=click.Choice(FORMATS),
            default="auto",
            show_default=True,
            help="How to log, to stderr; auto: text on a terminal, else JSON.",
        )
        @functools.wraps(function)
        def command(*args: Any, log_level: str, log_format: Any, **named: Any) -> Any:
            import logging

            from tasuki.observe.log import configure

            handler = configure(log_level, log_format)
            try:
                return function(*args, **named)
            finally:
                # What is logged while the interpreter ends must not wait for a writer that can no longer start.
                logging.getLogger().removeHandler(handler)
                handler.close()

        return command

    return decorate


def project_options(
    *, is_argument: bool = False, log_level: Level = "warning"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The project as ``-p`` or as first argument, ``-o``, and the log options: the command gets a ``target``."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(*args: Any, project: str, overrides: tuple[str, ...], **named: Any) -> Any:
            return function(*args, target=Target(project, overrides), **named)

        what = "a folder, a YAML file, or package.module:app"
        named: Callable[[Callable[..., Any]], Callable[..., Any]] = (
            click.argument("project", metavar="[TARGET]", default=".")
            if is_argument
            else click.option("-p", "--project", metavar="TARGET", default=".", help=f"The project: {what}.")
        )
        override = click.option(
            "-o",
            "--override",
            "overrides",
            multiple=True,
            metavar="NS:ENTRY:FIELD=VALUE",
            help="Replace one value of the project; may be repeated.",
        )
        return named(override(log_options(log_level)(command)))

    return decorate
