"""``tasuki remove``, ``purge`` and ``delete``: ask, remove, and say how many messages are gone."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.acting import act_on_queue, ids_text
from tasuki.cli.exits import CommandError
from tasuki.cli.options import printing, project_options
from tasuki.cli.output import count, is_terminal
from tasuki.cli.project import Target
from tasuki.queues.queue import Queue

if TYPE_CHECKING:
    from tasuki.app.state.auditing import Outcome


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

    def show(document: dict[str, Any]) -> None:
        click.echo(report.format(queue=document["queue"], messages=count(document[done], "message")))

    def decorate(remove: Callable[..., Awaitable[int]]) -> click.Command:
        @click.command(name, help=remove.__doc__)
        @click.argument("queue")
        @click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
        @printing(show)
        @project_options()
        def command(target: Target, queue: str, *, yes: bool, **given: Any) -> dict[str, Any]:
            async def work(live: Queue, outcome: Outcome) -> dict[str, Any]:
                def ask(question: str) -> None:
                    (_agree if yes else confirm)(question)
                    outcome.is_kept = True

                outcome.is_kept, outcome.filter = False, ids_text(given.get("ids", ()))
                outcome.count = await remove(live, ask, **given)
                return {"queue": live.id, done: outcome.count}

            return act_on_queue(target, queue, name, work)

        command.params[1:1] = arguments
        return command

    return decorate


def _agree(question: str) -> None:
    """``--yes`` is the answer to every question."""


def confirm(question: str) -> None:
    """Ask. Raises CommandError unless the answer is yes."""
    try:
        is_wanted = click.confirm(question, err=True)
    except click.Abort:
        if is_terminal(sys.stdin):
            raise
        is_wanted = False  # the input ended without an answer
    if not is_wanted:
        raise CommandError("nothing was removed; answer y, or give --yes")


_IDS = click.Argument(["ids"], metavar="ID...", nargs=-1, required=True)


@removing("remove", _IDS, done="removed", report="{messages} removed from {queue}")
async def remove_command(queue: Queue, ask: Ask, ids: tuple[str, ...]) -> int:
    """Remove the messages with these IDs from QUEUE, unless a consumer holds them. This cannot be undone.

    `tasuki peek` shows the ids.
    """
    ask(f"Remove the messages with {count(len(set(ids)), 'id')} from {queue.id} permanently?")
    return await queue.remove(ids)


@removing("purge", done="purged", report="{messages} removed from {queue}")
async def purge_command(queue: Queue, ask: Ask) -> int:
    """Remove all messages of QUEUE that no consumer holds. This cannot be undone."""
    depth = await queue.depth()
    about = "about " if depth.is_estimate else ""
    ask(f"Remove {about}{count(depth.waiting, 'message')} from {queue.id} permanently?")
    return await queue.purge()


@removing("delete", done="deleted", report="{queue} deleted with {messages}")
async def delete_command(queue: Queue, ask: Ask) -> int:
    """Delete QUEUE at its broker with all its messages, held ones included. This cannot be undone.

    Stop its workers and publishers first: a process that still declares the queue makes it again.
    """
    info = await queue.info()
    messages, consumers = int(info["message_count"]), info["consumer_count"]
    used = f", from which {count(consumers, 'consumer')} still receive," if consumers else ""
    ask(f"Delete queue {queue.id}{used} with {count(messages, 'message')} permanently?")
    await queue.delete()
    return messages
