"""``tasuki drivers``: what the drivers can do, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from tasuki.cli.options import json_option
from tasuki.cli.output import print_json, print_table
from tasuki.errors import UnsupportedError

_WORDS = {True: "yes", False: "no"}


@click.command("drivers")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a Markdown table, as in the README.")
@json_option
def command(*, as_json: bool, as_markdown: bool) -> None:
    """Compare the drivers of this installation; what one lacks, the framework does in its place, or refuses."""
    found = _drivers()
    if as_json:
        print_json(found)
        return
    usable = [driver for driver in found if driver["capabilities"]]
    names = list(usable[0]["capabilities"]) if usable else []
    rows = [(name.replace("_", " "), *(_word(driver["capabilities"][name]) for driver in usable)) for name in names]
    if as_markdown:
        click.echo(markdown(("", *(driver["name"] for driver in usable)), rows))
        return
    print_table(("", *(driver["name"] for driver in usable)), rows)
    for driver in found:
        if driver["error"]:
            click.echo(f"{driver['name']}: {driver['error']}", err=True)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same table in Markdown."""
    lines = [head, ["---"] + [":---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _drivers() -> list[dict[str, Any]]:
    """Name, kind, capabilities; for one that cannot be loaded, why."""
    from tasuki.kinds.capabilities import driver_class
    from tasuki.kinds.kind import driver_names, find_driver

    found = []
    for name in driver_names():
        kind = find_driver(name)
        if kind is None:
            continue
        try:
            capabilities, error = asdict(driver_class(kind).capabilities), None
        except UnsupportedError as problem:
            capabilities, error = None, str(problem)
        found.append({"name": name, "kind": kind.name, "capabilities": capabilities, "error": error})
    return found


def _word(value: Any) -> str:
    return _WORDS[value] if isinstance(value, bool) else "no limit" if value is None else str(value)
