"""What ``run --queues``, ``--except`` and ``--concurrency`` choose of a project."""

from __future__ import annotations

from tasuki.cli.project import find_id
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.selection import Selection


def selection_of(
    project: Project, queues: tuple[str, ...], excluded: tuple[str, ...], concurrency: int | None
) -> Selection:
    """The selection behind the options; each text is one or more names or ids of queues, with commas between.

    Raises:
        CommandError: there is no such queue.
    """
    known = project.of(QueueConfig)

    def ids(texts: tuple[str, ...]) -> tuple[str, ...]:
        names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
        return tuple(dict.fromkeys(find_id(name, known, "queue") for name in names))

    return Selection(ids(queues), ids(excluded), concurrency)
