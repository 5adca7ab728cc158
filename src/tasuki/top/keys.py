"""Keys: what each does everywhere and in a view, for the keyboard, the line of keys and the help; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasuki.top.frame.cells import Line
from tasuki.top.place import Place
from tasuki.top.views.view import Key, Text

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


def keys_of(place: Place, acts: Sequence[Key], is_deep: bool) -> list[tuple[str, str]]:
    """Key and label, the most useful first; ``acts``: those that are allowed on the row under the cursor."""
    view = place.view
    is_text = isinstance(place.content, Text)
    found = [("?", "help")]
    if _opens(place):
        found.append(("Enter", view.opens))
    if is_deep:
        found.append(("Esc", "back"))
    found += [(key.key, key.label) for key in acts]
    found += [(key, label) for key, label, _ in (*view.switches(), *view.asides())]
    if view.explain(place.current) is not None:
        found.append(("e", "explain"))
    found += [] if is_text else [("/", "filter"), ("s", "sort")]
    return [*found, ("q", "quit")]


def _opens(place: Place) -> bool:
    """Whether Enter opens anything of the row under the cursor."""
    return bool(place.view.opens) and place.current is not None and place.view.enter(place.current) is not None


def help_of(place: Place, acts: Sequence[Key]) -> list[Line]:
    """All keys of this place, its own first. Acts that are not allowed are left out."""
    view = place.view
    own = [(key.key, key.text) for key in acts]
    own += [(key, text) for key, _, text in (*view.switches(), *view.asides())]
    if _opens(place):
        own.append(("Enter", f"open: {view.opens}"))
    if view.explain(place.current) is not None:
        own.append(("e", "explain why the message does not run now"))
    sections = [(view.crumb, own), *HELP] if own else list(HELP)
    found: list[Line] = []
    for title, pairs in sections:
        found += [[], [(title, "accent")]]
        found += [[(f"  {key:<12}", "bold"), (text, "")] for key, text in pairs]
    return [*found[1:], [], [(EVERYWHERE, "dim")]]
