"""Whether a program printed what a page shows: the same lines, but for what differs from run to run."""

from __future__ import annotations

import re

_VARIES = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", r"[0-9a-f-]{36}"),  # the id of a message
    (r"\d\d:\d\d:\d\d\.\d{3}", r"\d\d:\d\d:\d\d\.\d{3}"),
    (r"\d+\.\d+ ?m?s\b|\d+ ?ms\b", r"\d+(?:\.\d+)? ?m?s"),  # measured times; whole seconds are chosen
    (r" *…", r".*?"),
]
"""What a page shows of things that vary, and what a program may print there."""

_SPLIT = re.compile("|".join(f"({shown})" for shown, _ in _VARIES))
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def pattern_of(shown: str) -> re.Pattern[str]:
    """Matches what a page shows. In a line ``…`` stands for any text; its own line with ``…``, for any lines."""
    lines = [r"(?:.*\n)*?" if line.strip() == "…" else _line(line) + r" *\n" for line in shown.strip("\n").split("\n")]
    return re.compile("".join(lines))


def _line(line: str) -> str:
    parts, at = [], 0
    for found in _SPLIT.finditer(line):
        parts += [re.escape(line[at : found.start()]), _VARIES[(found.lastindex or 1) - 1][1]]
        at = found.end()
    return "".join([*parts, re.escape(line[at:])])


def plain(output: str) -> str:
    """Output as a terminal shows it in the end: without escapes, and of a line that is overwritten the last state."""
    lines = _ESCAPES.sub("", output.replace("\r\n", "\n")).split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2].rstrip() for line in lines)
