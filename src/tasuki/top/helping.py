"""The help of a view, and its line of keys; no I/O."""

from __future__ import annotations

from collections.abc import Sequence

from tasuki.top.frame.cells import Line
from tasuki.top.keys import EVERYWHERE, HELP
from tasuki.top.place import Place
from tasuki.top.views.view import Key, Text


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
