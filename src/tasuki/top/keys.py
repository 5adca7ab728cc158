"""Keys: what each does everywhere, for the keyboard and for the help; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ACTIONS: Mapping[str, str] = {
    **{str(number): f"tab {number}" for number in range(1, 6)},
    "tab": "next tab", "right_square_bracket": "next tab", "shift+tab": "last tab", "left_square_bracket": "last tab",
    "j": "down", "down": "down", "k": "up", "up": "up",
    "g": "first", "home": "first", "G": "end", "end": "end",
    "l": "page down", "right": "page down", "pagedown": "page down", "ctrl+f": "page down",
    "h": "page up", "left": "page up", "pageup": "page up", "ctrl+b": "page up",
    "enter": "enter", "escape": "back", "backspace": "back",
    "slash": "filter", "x": "choose", "space": "choose", "v": "range", "A": "choose all",
    "s": "sort", "S": "reverse", "f": "freeze", "y": "copy", "e": "explain", "u": "undo",
    "exclamation_mark": "problems", "question_mark": "help", "q": "quit", "ctrl+c": "quit", "ctrl+l": "redraw",
}  # fmt: skip
"""Key, as Textual calls it → what it does in every view. A key of a view goes before."""

HELP: Sequence[tuple[str, Sequence[tuple[str, str]]]] = (
    ("Views", (
        ("1 … 5", "queues, dead letters, workers, schedules, batches"),
        ("Tab [ ]", "the next view, the one before"),
        ("Enter Esc", "open, and back"),
        ("f", "freeze: show this moment, and go on"),
        ("?  q", "this help; quit (Ctrl-C too)"),
    )),
    ("Rows", (
        ("j k ↓ ↑", "the next row, the one before"),
        ("h l ← →", "a page"),
        ("g G", "the first row, the last one"),
        ("/", "filter by a word; Esc takes it away"),
        ("!", "only what needs attention"),
        ("s S", "sort by the next column; turn the order round"),
        ("x Space", "select; v begins and ends a range, A selects all"),
        ("y", "copy the id"),
    )),
)  # fmt: skip
EVERYWHERE = "Keys that act take the selected rows, or the one under the cursor. Shift-letters destroy; they ask first."
"""What the help says below the keys."""

_SHOWN = {
    "right_square_bracket": "]",
    "left_square_bracket": "[",
    "slash": "/",
    "exclamation_mark": "!",
    "question_mark": "?",
}


def shown(key: str) -> str:
    """A key as people write it."""
    return _SHOWN.get(key, key)
