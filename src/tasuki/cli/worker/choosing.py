"""What ``run --queues``, ``--except`` and ``--concurrency`` choose of a project."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.project import find_id

if TYPE_CHECKING:
    from tasuki.kinds.check.project import Project
    from tasuki.kinds.selection import Selection


def queue_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The three options: the command gets ``choose``, which makes a selection of a project (None: all of it)."""

    @click.option("--queues", multiple=True, metavar="QUEUE,…", help="Consume these queues only; default: all.")
    @click.option("--except", "excluded", multiple=True, metavar="QUEUE,…", help="Do not consume these queues.")
    @click.option(
        "--concurrency",
        type=click.IntRange(1, 1000),
        help="Handle so many messages at a time of all consumed queues together, which take turns.",
    )
    @functools.wraps(function)
    def command(
        *args: Any, queues: tuple[str, ...], excluded: tuple[str, ...], concurrency: int | None, **named: Any
    ) -> Any:
        def choose(project: Project) -> Selection | None:
            is_all = not (queues or excluded or concurrency)
            return None if is_all else selection_of(project, queues, excluded, concurrency)

        return function(*args, choose=choose, **named)

    return command


def selection_of(
    project: Project, queues: Sequence[str], excluded: Sequence[str], concurrency: int | None
) -> Selection:
    """The selection behind the options; each text is one or more names or ids of queues, with commas between.

    Raises:
        CommandError: there is no such queue.
    """
    from tasuki.kinds.entries.queue import QueueConfig
    from tasuki.kinds.selection import Selection

    known = project.of(QueueConfig)

    def ids(option: str, texts: Sequence[str]) -> tuple[str, ...]:
        names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
        if texts and not names:
            raise click.UsageError(f"{option} names no queue; name one, or leave the option out")
        return tuple(dict.fromkeys(find_id(name, known, "queue") for name in names))

    return Selection(ids("--queues", queues), ids("--except", excluded), concurrency)
