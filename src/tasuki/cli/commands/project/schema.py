"""``tasuki schema``: the JSON Schema of project files."""

from __future__ import annotations

import json

import click


@click.command("schema")
@click.option("--json", is_flag=True, expose_value=False, help="It always is JSON.")
def command() -> None:
    """Print the JSON Schema of project files.

    An editor that is given it completes and checks YAML: with the YAML language server, as a first line,
    '# yaml-language-server: $schema=schema.json'.
    """
    from tasuki.kinds.schema import project_schema

    click.echo(json.dumps(project_schema(), indent=2, ensure_ascii=False))
