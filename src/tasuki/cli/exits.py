"""Exit codes, and errors as one clear message."""

from __future__ import annotations

import sys

from tasuki.errors import (
    BrokerTimeoutError,
    BrokerUnavailableError,
    ConfigError,
    ProjectError,
    StopTimeoutError,
    TasukiError,
)

OK = 0
ERROR = 1
"""An error, or a failed test."""
USAGE = 2
CONFIG = 3
"""The project is not good; nothing was started."""
UNREACHABLE = 4
"""The broker cannot be reached."""
RECYCLED = 75
"""Of one of several processes to its parent: it has reached a limit, and is to be replaced."""
LATE = 5
"""Stopped after ``stop_timeout``; unfinished messages were released."""
INTERRUPTED = 130
TERMINATED = 143

_MOST_SHOWN = 100
"""Problems of a project; a folder of many projects has thousands."""

_CODES: dict[tuple[type[TasukiError], ...], int] = {
    (ProjectError, ConfigError): CONFIG,
    (BrokerUnavailableError, BrokerTimeoutError): UNREACHABLE,
    (StopTimeoutError,): LATE,
}


class CommandError(TasukiError):
    """What a command cannot do, with the exit code to say it with."""

    def __init__(self, message: str, *, code: int = ERROR) -> None:
        self.code = code
        super().__init__(message)


def exit_code_of(error: BaseException) -> int:
    """The code of an error, or of the first of its causes that has one of its own."""
    cause: BaseException | None = error
    seen = set[int]()  # ``raise error from error`` makes a circle
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, CommandError):
            return cause.code
        for types, code in _CODES.items():
            if isinstance(cause, types):
                return code
        cause = cause.__cause__
    return ERROR


def show_error(error: TasukiError) -> None:
    """Write an error to stderr: a project's with all its lines and their count; a traceback only when debugging."""
    import logging
    import traceback

    import click

    from tasuki.cli.output import count, has_colour
    from tasuki.observe.plain import escape_lines
    from tasuki.observe.redact import redact

    if logging.getLogger().isEnabledFor(logging.DEBUG):
        click.echo(escape_lines(redact("".join(traceback.format_exception(error)))), err=True, nl=False)
    colour = has_colour(sys.stderr)
    word = click.style("error", fg="red", bold=True)
    if isinstance(error, ProjectError):
        shown, left = ProjectError(error.errors[:_MOST_SHOWN]), len(error.errors) - _MOST_SHOWN
        more = f"\n… and {left:,} more; is this folder the project? name it with -p" if left > 0 else ""
        text = escape_lines(redact(str(shown))) + more
        click.echo(f"{text}\n{word}: {count(len(error.errors), 'problem')}", err=True, color=colour)
    else:
        click.echo(f"{word}: {escape_lines(redact(str(error)))}", err=True, color=colour)
