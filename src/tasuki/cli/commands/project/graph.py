"""``tasuki graph``: the way of the messages, as a tree or a diagram."""

from __future__ import annotations

import click

from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import print_json
from tasuki.cli.project import Target


@click.command("graph")
@click.option("--format", "form", type=click.Choice(["text", "mermaid", "dot"]), default="text", show_default=True)
@json_option
@project_options()
def command(target: Target, form: str, *, as_json: bool) -> None:
    """Draw the structure of the project: drivers carry queues, queues feed consumers, consumers call functions."""
    from tasuki.cli.tools.drawing import to_dot, to_mermaid, to_text
    from tasuki.kinds.selection import graph_of

    graph = graph_of(target.load().check())
    if as_json:
        nodes = [{"id": id, "kind": kind} for id, kind in graph.nodes.items()]
        edges = [{"from": edge.start, "to": edge.end, "what": edge.what} for edge in graph.edges]
        print_json({"nodes": nodes, "edges": edges})
    else:
        click.echo({"text": to_text, "mermaid": to_mermaid, "dot": to_dot}[form](graph))
