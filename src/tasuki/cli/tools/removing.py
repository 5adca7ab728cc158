"""The shape of the commands that remove messages: ask, remove, and say how many are gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from tasuki.cli import loop
from tasuki.cli.asking import confirm
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import count, print_json
from tasuki.cli.project import Target, find_queue, looking_at

if TYPE_CHECKING:
    from tasuki.queues.queue import Queue

Ask = Callable[[str], None]
"""Asks the user a question; raises CommandError unless the answer is yes."""


def removing(name: str, *, done: str, report: str) -> Callable[[Callable[[Queue, Ask], Awaitable[int]]], click.Command]:
    """Make a command of the decorated function, whose docstring is the help.

    The function gets the queue, asks before it removes anything, and returns the number of messages that are gone.

    Args:
        name: of the command.
        done: the field of the JSON document for that number.
        report: the text printed without ``--json``; ``{queue}`` is the id, ``{messages}`` as in "2 messages".
    """

    def decorate(remove: Callable[[Queue, Ask], Awaitable[int]]) -> click.Command:
        @click.command(name, help=remove.__doc__)
        @click.argument("queue")
        @click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
        @json_option
        @project_options()
        def command(target: Target, queue: str, *, yes: bool, as_json: bool) -> None:
            app = target.load()
            id = find_queue(app.check(), queue)

            async def work() -> int:
                async with app.reading():
                    with looking_at(id):
                        return await remove(app.live_queue(id), _agree if yes else confirm)

            removed = loop.run(work())
            if as_json:
                print_json({"queue": id, done: removed})
            else:
                click.echo(report.format(queue=id, messages=count(removed, "message")))

        return command

    return decorate


def _agree(question: str) -> None:
    """``--yes`` is the answer to every question."""
