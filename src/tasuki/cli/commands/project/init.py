"""``tasuki init``: a new project that runs."""

from __future__ import annotations

import re
import shlex
from importlib.resources import files
from pathlib import Path

import click

from tasuki.cli.exits import CommandError

_TEMPLATES = {
    "python": ("an app in Python; the default", ("every", "python"), ("pip install pytest", "pytest", "tasuki run")),
    "yaml": ("entries in YAML, handlers in Python", ("every", "yaml"), ("tasuki test", "tasuki run")),
    "lua": ("entries in YAML, handlers in Lua", ("every", "lua"), ("tasuki test", "tasuki run")),
    "fastapi": (
        "an app in Python, and a web application",
        ("every", "python", "fastapi"),
        (
            "pip install fastapi uvicorn httpx2 pytest",
            "pytest",
            "uvicorn web:web    # publishes, in a first terminal",
            "tasuki run         # handles, in a second one",
        ),
    ),
}
"""Name → what it is, the folders of its files (a later one wins), and the commands that come next."""
_RENAMED = {"gitignore": ".gitignore", "dockerignore": ".dockerignore"}
_NAME = "__name__"


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--python", "template", flag_value="python", default="python", help=_TEMPLATES["python"][0])
@click.option("--yaml", "template", flag_value="yaml", help=_TEMPLATES["yaml"][0])
@click.option("--lua", "template", flag_value="lua", help=_TEMPLATES["lua"][0])
@click.option("--fastapi", "template", flag_value="fastapi", help=_TEMPLATES["fastapi"][0])
def command(folder: Path, template: str) -> None:
    """Make a project in the new or empty folder DIR: a durable queue, its handler and a passing test."""
    if folder.is_dir() and any(folder.iterdir()):
        raise CommandError(f"{str(folder)!r} is not empty; name a new folder")
    _, sources, steps = _TEMPLATES[template]
    name = re.sub(r"[^A-Za-z0-9]+", "-", folder.resolve().name).strip("-") or "project"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source in sources:
            for file in files("tasuki.cli").joinpath("template", source).iterdir():
                if file.is_file():
                    text = file.read_text(encoding="utf-8").replace(_NAME, name)
                    (folder / _RENAMED.get(file.name, file.name)).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {error.filename or str(folder)!r}: {error.strerror or error}") from error
    click.echo("\n  ".join((f"made {folder}; next:", f"cd {shlex.quote(str(folder))}", *steps)))
