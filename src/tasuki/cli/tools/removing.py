"""The shape of the commands that remove messages: ask, remove, and say how many are gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import click

from tasuki.cli import loop
from tasuki.cli.asking import confirm
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import count, print_json
from tasuki.cli.project import Target, find_queue, looking_at

Ask = Callable[[str], None]
"""Asks the user a question; raises CommandError unless the answer is yes."""


def removing(
    name: str, *arguments: click.Argument, done: str, report: str
) -> Callable[[Callable[..., Awaitable[int]]], click.Command]:
    """Make a command of the decorated function, whose docstring is the help.

    The function gets the queue, and the arguments by their names. It asks before it removes anything, and returns the
    number of messages that are gone.

    Args:
        name: of the command.
        arguments: what the command takes besides the queue.
        done: the field of the JSON document for that number.
        report: the text printed without ``--json``; ``{queue}`` is the id, ``{messages}`` as in "2 messages".
    """

    def decorate(remove: Callable[..., Awaitable[int]]) -> click.Command:
        @click.command(name, help=remove.__doc__)
        @click.argument("queue")
        @click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
        @json_option
        @project_options()
        def command(target: Target, queue: str, *, yes: bool, as_json: bool, **given: Any) -> None:
            app = target.load()
            id = find_queue(app.check(), queue)

            async def work() -> int:
                async with app.reading():
                    with looking_at(id):
                        return await remove(app.live_queue(id), _agree if yes else confirm, **given)

            removed = loop.run(work())
            if as_json:
                print_json({"queue": id, done: removed})
            else:
                click.echo(report.format(queue=id, messages=count(removed, "message")))

        command.params[1:1] = arguments
        return command

    return decorate


def _agree(question: str) -> None:
    """``--yes`` is the answer to every question."""
