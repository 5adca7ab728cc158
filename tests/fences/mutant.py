"""Mutant: one check of the source that is taken out, and the tests that must notice."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).parents[2] / "src" / "tasuki"


class Mutant(NamedTuple):
    """A change of one place of a file.

    Args:
        name: says which check is missing, as a word.
        file: below ``src/tasuki``.
        before: the text that stands there now, once.
        after: the text in its place.
        noticed_by: files of tests, or tests with ``::``, below ``tests``; one failure is enough.
    """

    name: str
    file: str
    before: str
    after: str
    noticed_by: tuple[str, ...]

    def applied(self, text: str) -> str:
        """The text of the file without the check. Raises ValueError: the place is not there, or not once."""
        if (count := text.count(self.before)) != 1:
            raise ValueError(f"{self.name}: {self.file} has its place {count} times: {self.before!r}")
        return text.replace(self.before, self.after)
