"""Prompt: the question in the last line, for a word to filter by, a yes, or the name of a queue; no I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tasuki.top.frame.scene import Foot

_HINT = "  Enter: yes · Esc: no"
_MOST = 200
"""Characters that can be typed."""


@dataclass(slots=True)
class Prompt:
    """A question; ``answer`` gets the typed text, at Enter.

    ``hear`` gets each change of the typed text; ``leave`` is called at Esc.
    """

    text: str
    answer: Callable[[str], object]
    is_typed: bool = False
    typed: str = ""
    hear: Callable[[str], object] | None = None
    leave: Callable[[], object] | None = None

    @property
    def foot(self) -> Foot:
        """The last lines."""
        if self.is_typed:
            return Foot("typed", self.text, self.typed)
        return Foot("asked", self.text + _HINT)

    def press(self, key: str, character: str | None) -> bool:
        """Take a key; True: the question has ended."""
        if key in ("escape", "ctrl+c"):
            if self.leave is not None:
                self.leave()
            return True
        if key == "enter":
            self.answer(self.typed)
            return True
        if not self.is_typed:
            return False
        if key in ("backspace", "ctrl+h"):
            self._change(self.typed[:-1])
        elif key == "ctrl+u":
            self._change("")
        elif key == "ctrl+w":
            self._change(self.typed.rstrip().rpartition(" ")[0])
        elif character is not None and character.isprintable():
            self.paste(character)
        return False

    def paste(self, text: str) -> None:
        """Take a text; what cannot be printed is left out."""
        if self.is_typed:
            printable = "".join(filter(str.isprintable, text))
            self._change((self.typed + printable)[:_MOST])

    def _change(self, typed: str) -> None:
        self.typed = typed
        if self.hear is not None:
            self.hear(typed)
