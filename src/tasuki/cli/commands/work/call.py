"""``tasuki call``: one function, called by hand."""

from __future__ import annotations

import json
from typing import Any

import click

from tasuki.cli import loop
from tasuki.cli.options import printing, project_options
from tasuki.cli.output import print_json, print_text
from tasuki.cli.project import Target
from tasuki.cli.tools.calling import call, find_function


def _show(result: Any) -> None:
    if result is not None:
        (print_text if isinstance(result, str) else print_json)(result)


@click.command("call", context_settings={"ignore_unknown_options": True})
@click.argument("function", metavar="FUNC")
@click.argument("args", nargs=-1)
@printing(_show)
@project_options()
def command(target: Target, function: str, args: tuple[str, ...]) -> Any:
    """Call the function FUNC of the project and print what it returns.

    Each of ARGS is JSON, or else the text itself. The call has no message; messages that the function
    publishes are really published.
    """
    app = target.load()
    id = find_function(app.check(), function)

    async def run() -> Any:
        async with app._runtime.briefly():
            return await call(app, id, [_argument(text) for text in args])

    return loop.run(run())


def _argument(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
