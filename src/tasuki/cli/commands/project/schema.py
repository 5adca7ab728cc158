"""``tasuki schema``: the JSON Schema of project files."""

from __future__ import annotations

import json

import click


@click.command("schema")
@click.option("--json", is_flag=True, expose_value=False, help="Without effect: the output is always JSON.")
def command() -> None:
    """Print the JSON Schema of project files.

    With it, an editor completes and checks YAML. The YAML language server needs this first line:
    '# yaml-language-server: $schema=schema.json'.
    """
    from tasuki.kinds.schema import project_schema

    click.echo(json.dumps(project_schema(), indent=2, ensure_ascii=False))
