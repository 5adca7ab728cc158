"""Styles and signs: the terminal's own colours, so that its theme holds, and plain characters where it has no others.

What a colour says is also said by a sign or a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from rich.style import Style

_STYLES = {
    "": Style(),
    "dim": Style(dim=True),
    "bold": Style(bold=True),
    "head": Style(bold=True, dim=True),
    "accent": Style(color="cyan", bold=True),
    "tab": Style(bold=True, underline=True),
    "bars": Style(color="cyan"),
    "fall": Style(color="red"),
    "ok": Style(color="green"),
    "warn": Style(color="yellow"),
    "bad": Style(color="red", bold=True),
    "ask": Style(color="yellow", bold=True),
    "cursor": Style(reverse=True),
}


@cache
def style_of(name: str) -> Style:
    """The style of a name."""
    return _STYLES[name]


@dataclass(frozen=True, slots=True)
class Signs:
    """Characters with a meaning, all of one cell; ``bars`` from the least to the most."""

    more: str = "…"
    dot: str = "●"
    selected: str = "●"
    problem: str = "!"
    paused: str = "‖"
    absent: str = "·"
    down: str = "▾"
    up: str = "▴"
    into: str = "\u203a"
    none: str = "\u2013"
    bars: str = "▁▂▃▄▅▆▇█"
    caret: str = "▏"
    is_ascii: bool = False

    def text(self, text: str) -> str:
        r"""A text as the terminal can show it: in ASCII ``\u65e5`` for other characters."""
        if not self.is_ascii or text.isascii():
            return text
        return text.translate(_PLAIN).encode("ascii", "backslashreplace").decode()


UNICODE = Signs()
ASCII = Signs("~", "*", "*", "!", "=", ".", "v", "^", ">", "-", "_.:-=+*#", "_", is_ascii=True)
_PLAIN = str.maketrans(
    {"…": "~", "\u2013": "-", "·": ".", "\u203a": ">", "“": '"', "”": '"', "●": "*", "‖": "=", "→": ">"}
)
