"""``--max-messages``, ``--max-memory`` and ``--max-age``: when a process of ``tasuki run`` ends in order."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.exits import OK, RECYCLED

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.contracts.recycling import Limits


def _size(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    from tasuki.units import parse_size

    found: int | None = _read(parse_size, value)
    return found


def _duration(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    from tasuki.units import parse_duration

    found: float | None = _read(parse_duration, value)
    return found


def _read(parse: Callable[[str], Any], value: str | None) -> Any:
    if value is None:
        return None
    try:
        found = parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not found:
        raise click.BadParameter(f"{value!r} must be more than 0")
    return found


def recycling_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options; the command gets ``limits``."""

    @click.option(
        "--max-messages", type=click.IntRange(1), help="End in order after this many messages; for each process."
    )
    @click.option("--max-memory", callback=_size, metavar="SIZE", help="End in order when it holds so much: 512MiB.")
    @click.option(
        "--max-age",
        callback=_duration,
        metavar="TIME",
        help="End in order when it has run so long: 6h. With --processes another process follows in each case.",
    )
    @functools.wraps(function)
    def command(
        *args: Any, max_messages: int | None, max_memory: int | None, max_age: float | None, **named: Any
    ) -> Any:
        from tasuki.contracts.recycling import Limits

        return function(*args, limits=Limits(max_messages, max_memory, max_age), **named)

    return command


def as_arguments(limits: Limits) -> list[str]:
    """The options for the command line of another process."""
    age = None if limits.age is None else f"{limits.age}s"
    given = {"messages": limits.messages, "memory": limits.memory, "age": age}
    return [f"--max-{name}={value}" for name, value in given.items() if value is not None]


class Recycling:
    """Ends the run of an app at a limit, and knows the exit code for that."""

    def __init__(self, app: App, limits: Limits, *, is_one_of_several: bool) -> None:
        self._app = app
        self.limits = limits
        self._code = RECYCLED if is_one_of_several else OK
        self._is_due = False

    async def run(self) -> None:
        """Drain the app when a limit is reached."""
        from tasuki.app.lifecycle.recycling import recycle

        await recycle(self._app, self.limits)
        self._is_due = True

    def exit_code(self, code: int) -> int:
        """The exit code of the process; ``code``: of the run."""
        return self._code if code == OK and self._is_due else code
