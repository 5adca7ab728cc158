"""Graphs of a project as text, Mermaid or DOT."""

from __future__ import annotations

from tasuki.kinds.selection import ASIDE, Edge, Graph


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
