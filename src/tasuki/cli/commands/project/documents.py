"""``tasuki graph``, ``schema`` and ``asyncapi``: a project as a diagram or a document; ``docs``: our pages."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from tasuki import __version__
from tasuki.cli.exits import CommandError
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import print_json, print_text
from tasuki.cli.project import Target
from tasuki.kinds.selection import ASIDE, Edge, Graph, graph_of
from tasuki.observe.plain import escape_json

_CLONE = Path(__file__).parents[5]


@click.command("docs")
@click.option("--open", "opens", is_flag=True, help="Show them in the browser.")
def docs_command(*, opens: bool) -> None:
    """Print where the pages of the installed version are: their address, or the file in a clone."""
    urls = dict(url.split(", ", 1) for url in metadata.metadata("tasuki").get_all("Project-URL") or [])
    files = (_CLONE / "build/site/en/index.html", _CLONE / "docs/README.md")
    place = urls.get("Documentation") or next((str(file) for file in files if file.is_file()), None)
    if place is None:
        raise CommandError(f"this package names no address; read docs/README.md in the source package of {__version__}")
    print_text(place)
    if opens:
        click.launch(place)


@click.command("schema")
@click.option("--json", is_flag=True, expose_value=False, help="Without effect: the output is always JSON.")
def schema_command() -> None:
    """Print the JSON Schema of project files.

    With it, an editor completes and checks YAML. The YAML language server needs this first line:
    '# yaml-language-server: $schema=schema.json'.
    """
    from tasuki.kinds.schema import project_schema

    click.echo(json.dumps(project_schema(), indent=2, ensure_ascii=False))


@click.command("asyncapi")
@click.option("--yaml", "as_yaml", is_flag=True, help="Print YAML; a FILE that ends with .yaml or .yml is YAML too.")
@click.option("--json", is_flag=True, expose_value=False, help="Without effect: the output is JSON by default.")
@click.option(
    "--output", "file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write to FILE."
)
@click.option("--title", metavar="TEXT", help="Title; default: the name in pyproject.toml, or the folder's.")
@click.option("--api-version", "version", metavar="TEXT", help="Version; default: that in pyproject.toml, or 0.0.0.")
@project_options(is_argument=True)
def asyncapi_command(
    target: Target, file: Path | None, title: str | None, version: str | None, *, as_yaml: bool
) -> None:
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


def to_text(graph: Graph) -> str:
    """A tree for each entry that nothing leads to: drivers, shared workers, and functions that no consumer calls."""
    ends = {edge.end for edge in graph.edges}
    lines: list[str] = []
    for id, kind in graph.nodes.items():
        if id not in ends:
            lines.append(f"{id}  {kind}")
            lines += _branches(graph, id, "")
    return "\n".join(lines)


def _branches(graph: Graph, id: str, indent: str) -> list[str]:
    lines = []
    edges = graph.after(id)
    for edge in edges:
        is_last = edge is edges[-1]
        lines.append(f"{indent}{'└─ ' if is_last else '├─ '}{_label(graph, edge)}")
        if edge.what not in ASIDE:  # that end has its own branch
            lines += _branches(graph, edge.end, indent + ("   " if is_last else "│  "))
    return lines


def _label(graph: Graph, edge: Edge) -> str:
    return f"{edge.what} → {edge.end}" if edge.what in ASIDE else f"{edge.end}  {graph.nodes[edge.end]}"


def to_mermaid(graph: Graph) -> str:
    """A flowchart; ids become ``n0``, ``n1`` …, since Mermaid has no names with colons."""
    names = {id: f"n{number}" for number, id in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    lines += [f'  {names[id]}["{_quoted(id)}<br/>{kind}"]' for id, kind in graph.nodes.items()]
    for edge in graph.edges:
        arrow = f"-. {edge.what} .->" if edge.what in ASIDE else "-->"
        lines.append(f"  {names[edge.start]} {arrow} {names[edge.end]}")
    return "\n".join(lines)


def to_dot(graph: Graph) -> str:
    """For Graphviz."""
    lines = ["digraph tasuki {", "  rankdir=LR;", "  node [shape=box];"]
    lines += [f'  "{id}" [label="{id}\\n{kind}"];' for id, kind in graph.nodes.items()]
    for edge in graph.edges:
        style = f' [style=dashed, label="{edge.what}"]' if edge.what in ASIDE else ""
        lines.append(f'  "{edge.start}" -> "{edge.end}"{style};')
    return "\n".join([*lines, "}"])


def _quoted(id: str) -> str:
    return id.replace('"', "#quot;")


@click.command("graph")
@click.option("--format", "form", type=click.Choice(["text", "mermaid", "dot"]), default="text", show_default=True)
@json_option
@project_options()
def graph_command(target: Target, form: str, *, as_json: bool) -> None:
    """Draw the structure of the project: drivers carry queues, queues feed consumers, consumers call functions."""
    graph = graph_of(target.load().check())
    if as_json:
        nodes = [{"id": id, "kind": kind} for id, kind in graph.nodes.items()]
        edges = [{"from": edge.start, "to": edge.end, "what": edge.what} for edge in graph.edges]
        print_json({"nodes": nodes, "edges": edges})
    else:
        click.echo({"text": to_text, "mermaid": to_mermaid, "dot": to_dot}[form](graph))
