"""``tasuki asyncapi``: the interface of a project as an AsyncAPI document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tasuki.cli.exits import CommandError
from tasuki.cli.options import project_options
from tasuki.cli.output import print_text
from tasuki.cli.project import Target
from tasuki.observe.plain import escape_json


@click.command("asyncapi")
@click.option("--yaml", "as_yaml", is_flag=True, help="Print YAML; a FILE that ends with .yaml or .yml is YAML too.")
@click.option("--json", is_flag=True, expose_value=False, help="Without effect: the output is JSON by default.")
@click.option(
    "--output", "file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write to FILE."
)
@click.option("--title", metavar="TEXT", help="Title; default: the name in pyproject.toml, or the folder's.")
@click.option("--api-version", "version", metavar="TEXT", help="Version; default: that in pyproject.toml, or 0.0.0.")
@project_options(is_argument=True)
def command(target: Target, file: Path | None, title: str | None, version: str | None, *, as_yaml: bool) -> None:
    """Print the AsyncAPI 3.1 document of the project TARGET: servers, channels, operations, messages and schemas.

    No broker is contacted. Python handlers are imported for their annotations. Addresses show no user and no password.
    """
    document = target.load().asyncapi(title=title, version=version)
    is_yaml = as_yaml or (file is not None and file.suffix in (".yaml", ".yml"))
    text = _yaml(document) if is_yaml else escape_json(json.dumps(document, indent=2, ensure_ascii=False)) + "\n"
    if file is None:
        print_text(text.removesuffix("\n"))
        return
    try:
        file.write_bytes(text.encode(errors="backslashreplace"))
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error.strerror or error}") from error


def _yaml(document: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
