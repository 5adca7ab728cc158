"""``tasuki init``: a new project that runs."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from tasuki.cli.exits import CommandError

_FILES = {"gitignore": ".gitignore"}
"""Names of template files that are others in the project."""


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def command(folder: Path) -> None:
    """Make a project in the new or empty folder DIR: a durable queue, two handlers, their consumers and tests."""
    if folder.is_dir() and any(folder.iterdir()):
        raise CommandError(f"{str(folder)!r} is not empty; name a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for template in files("tasuki.cli").joinpath("template").iterdir():
            if template.is_file():
                path = folder / _FILES.get(template.name, template.name)
                path.write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {error.filename or str(folder)!r}: {error.strerror or error}") from error
    click.echo(f"made {folder}; next:\n  cd {folder}\n  tasuki test\n  tasuki run")
