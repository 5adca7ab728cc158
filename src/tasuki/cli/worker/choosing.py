"""What ``run --queues``, ``--except`` and ``--concurrency`` choose of a project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tasuki.cli.project import find_id

if TYPE_CHECKING:
    from tasuki.kinds.check.project import Project
    from tasuki.kinds.selection import Selection


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
