"""``tasuki drivers``: what the drivers can do, side by side."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.options import json_option
from tasuki.cli.output import print_json, print_table
from tasuki.errors import UnsupportedError
from tasuki.units import format_duration, format_size

if TYPE_CHECKING:
    from tasuki.contracts.driver import Capabilities

_DAY = 86_400


@click.command("drivers")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a Markdown table.")
@json_option
def drivers_command(*, as_json: bool, as_markdown: bool) -> None:
    """Compare the drivers of this installation: done by the broker, by Tasuki above it, or refused by the check."""
    found = _drivers()
    usable = {name: capabilities for name, _, capabilities, _ in found if capabilities is not None}
    head, body = ("", *usable), rows(usable)
    if as_json:
        print_json([_as_dict(*driver) for driver in found])
    elif as_markdown:
        click.echo(markdown(head, body))
    else:
        print_table(head, [[cell.replace("`", "") for cell in row] for row in body])
        for name, _, _, error in found:
            if error:
                click.echo(f"{name}: {error}", err=True)


def rows(drivers: dict[str, Capabilities]) -> list[list[str]]:
    """Each behaviour and limit, and what each driver says to it."""
    from tasuki.kinds.check.behaviours import BEHAVIOURS

    columns = list(drivers.values())
    return [
        ["durability, at best", *(each.durability for each in columns)],
        *([behaviour.name, *(behaviour.cell(each) for each in columns)] for behaviour in BEHAVIOURS),
        ["largest batch", *(str(each.max_batch) for each in columns)],
        ["largest message", *(_limit(each.max_message_bytes, format_size) for each in columns)],
        ["longest delay", *(_limit(each.max_delay, _days) for each in columns)],
    ]


def markdown(head: Sequence[str], body: Sequence[Sequence[str]], texts: Collection[str] = ()) -> str:
    """A table in Markdown; columns are centred, except the first and the columns named in ``texts``."""
    lines = [head, ["---", *("---" if name in texts else ":---:" for name in head[1:])], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _limit(value: Any, words: Callable[[Any], str]) -> str:
    return "no limit" if value is None else words(value)


def _days(seconds: float) -> str:
    return f"{int(seconds // _DAY)} days" if seconds >= 2 * _DAY else format_duration(seconds)


def _drivers() -> list[tuple[str, str, Capabilities | None, str | None]]:
    """Name, kind, capabilities; for one that cannot be loaded, why."""
    from tasuki.fields.types import DRIVER_PREFIX
    from tasuki.kinds.kind import driver_class, driver_names, find_driver

    found: list[tuple[str, str, Capabilities | None, str | None]] = []
    for kind in filter(None, map(find_driver, driver_names())):
        name = kind.name.removeprefix(DRIVER_PREFIX)
        try:
            found.append((name, kind.name, driver_class(kind).capabilities, None))
        except UnsupportedError as problem:
            found.append((name, kind.name, None, str(problem)))
    return found


def _as_dict(name: str, kind: str, capabilities: Capabilities | None, error: str | None) -> dict[str, Any]:
    from tasuki.kinds.check.behaviours import BEHAVIOURS

    facts = behaviours = None
    if capabilities is not None:
        sets = {name: sorted(getattr(capabilities, name)) for name in ("abilities", "emulates", "unique")}
        facts = {**asdict(capabilities), **sets}
        behaviours = {behaviour.name.replace("`", ""): behaviour.cell(capabilities) for behaviour in BEHAVIOURS}
    return {"name": name, "kind": kind, "capabilities": facts, "behaviours": behaviours, "error": error}
