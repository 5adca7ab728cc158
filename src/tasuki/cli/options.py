"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar, get_args

import click

from tasuki.cli.output import print_json
from tasuki.cli.project import Target
from tasuki.moments import dated

F = TypeVar("F", bound=Callable[..., Any])

Level = Literal["debug", "info", "warning", "error"]
FORMATS = ("auto", "text", "json")
_TARGET = "The project: a folder, a YAML or Python file, or package.module:app."


def json_option(function: F) -> F:
    """``--json``: the command gets ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(function)


def secrets_option(function: F) -> F:
    """``--secrets``: the command gets ``shows_secrets``."""
    text = "Show values of telling names (password, api_key) too; they are masked else."
    return click.option("--secrets", "shows_secrets", is_flag=True, help=text)(function)


def printing(show: Callable[[Any], object], *moments: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--json``: the command returns a document, which ``show`` prints for people.

    ``moments``: the fields that are dates in JSON, and Unix seconds before.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(*args: Any, as_json: bool, **named: Any) -> None:
            document = function(*args, **named)
            if as_json:
                print_json(dated(document, moments))
            else:
                show(document)

        return json_option(command)

    return decorate


def read_time(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    """The callback of an option that takes a time with a time zone."""
    try:
        at = None if text is None else datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}; write a date and a time, as in 2026-12-24T18:00+09:00") from None
    if at is not None and at.tzinfo is None:
        raise click.BadParameter(f"{text!r} has no time zone; write {text}Z for UTC, or an offset such as +09:00")
    return at


def _choice(name: str, values: Sequence[str], default: str, text: str) -> Callable[[F], F]:
    return click.option(name, type=click.Choice(values), default=default, show_default=True, help=text)


def log_options(default: Level = "warning") -> Callable[[F], Callable[..., Any]]:
    """``--log-level`` and ``--log-format``: the logs are set up before the command runs."""

    def decorate(function: F) -> Callable[..., Any]:
        @click.option(
            "--log-level", type=click.Choice(get_args(Level)), default=default, show_default=True, help="What to log."
        )
        @click.option(
            "--log-format",
            type=click.Choice(["auto", "text", "json"]),
            default="auto",
            show_default=True,
            help="How to log, to stderr; auto: text on a terminal, else JSON.",
        )
        @functools.wraps(function)
        def command(*args: Any, log_level: str, log_format: Any, **named: Any) -> Any:
            import logging

            from tasuki.observe.log import configure

            source = click.get_current_context().get_parameter_source("log_level")
            is_given = source is click.core.ParameterSource.COMMANDLINE
            handler = configure(log_level, log_format, is_level_given=is_given)
            try:
                return function(*args, **named)
            finally:
                # Records logged while the interpreter ends must not wait for a writer that can no longer start.
                logging.getLogger().removeHandler(handler)
                handler.close()

        return command

    return decorate


def project_options(
    *, is_argument: bool = False, log_level: Level = "warning"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The project as ``-p``, also as first argument, ``-o``, and the log options: the command gets a ``target``."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.option("-p", "--project", metavar="TARGET", help=_TARGET, hidden=is_argument)
        @click.option(
            "-o",
            "--override",
            "overrides",
            multiple=True,
            metavar="NS:ENTRY:FIELD=VALUE",
            help="Replace one value of the project; may be repeated.",
        )
        @log_options(log_level)
        @functools.wraps(function)
        def command(
            *args: Any, project: str | None, overrides: tuple[str, ...], given: str | None = None, **named: Any
        ) -> Any:
            if project and given:
                raise click.UsageError("the project is given twice: as TARGET and with -p")
            return function(*args, target=Target(project or given, overrides), **named)

        return click.argument("given", metavar="[TARGET]", required=False)(command) if is_argument else command

    return decorate
