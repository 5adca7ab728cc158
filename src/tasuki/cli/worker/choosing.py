"""What ``run --queues``, ``--except`` and ``--concurrency`` choose of a project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tasuki.cli.exits import USAGE, CommandError
from tasuki.errors import SelectionError

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.kinds.check.project import Project


def choose(app: App, queues: Sequence[str], excluded: Sequence[str], concurrency: int | None) -> Project:
    """Select by the options, and check the project; a text is one or more names or ids, with commas between.

    Raises:
        CommandError: the options do not fit the project: a wrong use of the command, not a wrong project.
        ProjectError: the project is not good.
    """
    if not (queues or excluded or concurrency):
        return app.check()
    try:
        app.select(*_names("--queues", queues), excluded=_names("--except", excluded), concurrency=concurrency)
        return app.check()
    except SelectionError as error:
        raise CommandError(str(error), code=USAGE) from error


def _names(option: str, texts: Sequence[str]) -> list[str]:
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    if texts and not names:
        raise click.UsageError(f"{option} names no queue; name one, or leave the option out")
    return names
