"""Options of ``run``: what it consumes of a project, and when a process of it ends in order."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.exits import OK, RECYCLED, USAGE, CommandError
from tasuki.contracts.recycling import Limits
from tasuki.errors import SelectionError
from tasuki.units import format_size, parse_duration, parse_size

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.kinds.check.project import Project


def choose(app: App, queues: Sequence[str], excluded: Sequence[str], concurrency: int | None) -> Project:
    """Select by the options, and check the project; a text is one or more names or ids, with commas between.

    Raises:
        CommandError: the options do not fit the project: a wrong use of the command, not a wrong project.
        ProjectError: the project is not good.
    """
    if not (queues or excluded or concurrency):
        return app.check()
    try:
        app.select(*_names("--queues", queues), excluded=_names("--except", excluded), concurrency=concurrency)
        return app.check()
    except SelectionError as error:
        raise CommandError(str(error), code=USAGE) from error


def _names(option: str, texts: Sequence[str]) -> list[str]:
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    if texts and not names:
        raise click.UsageError(f"{option} names no queue; name one, or leave the option out")
    return names


_PARSERS: dict[str, Callable[[str], float]] = {"max_memory": parse_size, "max_age": parse_duration}


def _checked(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """The text, if it can be read and is more than 0: child processes get it as it is."""
    if value is not None:
        try:
            found = _PARSERS[str(parameter.name)](value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
        if not found:
            raise click.BadParameter(f"{value!r} must be more than 0")
    return value


def recycling_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options; the command gets ``limits``."""

    @click.option(
        "--max-messages", type=click.IntRange(1), help="Stop gracefully after this many messages; for each process."
    )
    @click.option(
        "--max-memory", callback=_checked, metavar="SIZE", help="Stop gracefully above this memory use, such as 512MiB."
    )
    @click.option(
        "--max-age",
        callback=_checked,
        metavar="TIME",
        help="Stop gracefully at this age, such as 6h. With --processes another process follows in each case.",
    )
    @functools.wraps(function)
    def command(*args: Any, max_messages: int | None, max_memory: str | None, max_age: str | None, **named: Any) -> Any:
        memory = None if max_memory is None else parse_size(max_memory)
        age = None if max_age is None else parse_duration(max_age)
        return function(*args, limits=Limits(max_messages, memory, age), **named)

    return command


LINES = {"all": logging.DEBUG, "summary": logging.INFO, "none": logging.WARNING}
"""The level of the logger of complete messages; see :mod:`tasuki.consumers.reports.completion_log`."""


def message_log_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--log-messages``; it is set while the command runs."""

    @click.option(
        "--log-messages",
        type=click.Choice(list(LINES)),
        help="A line for each complete message, up to ten a second and then a summary, or none; failures have theirs. "
        "Default: summary at --log-level info, all at debug.",
    )
    @functools.wraps(function)
    def command(*args: Any, log_messages: str | None, **named: Any) -> Any:
        logger = logging.getLogger("tasuki.message")
        before = logger.level
        logger.setLevel(before if log_messages is None else LINES[log_messages])
        try:
            return function(*args, **named)
        finally:
            logger.setLevel(before)

    return command


def refuse_too_little(limits: Limits, held: int) -> None:
    """Refuse a limit below the ``held`` bytes of a process that has only loaded its project: it would end at once.

    Raises:
        BadParameter: how much it holds already.
    """
    if limits.memory is not None and held >= limits.memory:
        problem = f"{format_size(limits.memory)} is too little: the process holds {held // 2**20} MiB at its start"
        raise click.BadParameter(f"{problem}; leave room for its messages", param_hint="'--max-memory'")


class Recycling:
    """Ends the run of an app at a limit, and knows the exit code for that."""

    def __init__(self, app: App, limits: Limits, *, is_one_of_several: bool) -> None:
        self._app = app
        self.limits = limits
        self._code = RECYCLED if is_one_of_several else OK
        self._is_due = False

    async def run(self) -> None:
        """Drain the app when a limit is reached."""
        from tasuki.app.lifecycle.running import recycle

        await recycle(self._app._runtime, self.limits)
        self._is_due = True

    def exit_code(self, code: int) -> int:
        """The exit code of the process; ``code``: of the run."""
        return self._code if code == OK and self._is_due else code
