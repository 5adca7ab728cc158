"""Pattern: the actions or resources that a policy covers.

==================  =====================================================================================
written             matches
==================  =====================================================================================
``*``               everything, the empty text too
``app:tasks``       exactly this text
``app:*``           what begins with ``app:``
``queue.*``         what begins with ``queue``: Wippy leaves the dot out, so ``queue`` and ``queuex`` match
``*.read``          what ends with ``.read``
``*mail*``          what has ``mail`` in it
==================  =====================================================================================

Case counts, nothing is normalised, and every match is one comparison of texts: there is nothing to backtrack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MAX_LENGTH = 1000

_Form = Literal["exact", "prefix", "suffix", "inner"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern; made by :func:`parse_pattern`."""

    text: str
    form: _Form
    core: str

    def matches(self, value: str) -> bool:
        """Whether a text is meant."""
        if self.form == "exact":
            return value == self.core
        if self.form == "prefix":
            return value.startswith(self.core)
        return value.endswith(self.core) if self.form == "suffix" else self.core in value


def parse_pattern(text: str) -> Pattern:
    """The pattern of a text.

    Raises:
        ValueError: it is empty or too long, or a wildcard stands within it, where it would never match anything.
    """
    if not text:
        raise ValueError("a pattern is empty")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a pattern has {len(text)} characters; at most {MAX_LENGTH} are allowed")
    core, has_end = _without_end(text)
    has_start = core.startswith("*")
    core = core.removeprefix("*")
    if "*" in core:
        raise ValueError(f"{text!r} has a wildcard in the middle; put '*' at the start or at the end")
    form: _Form = ("inner" if has_end else "suffix") if has_start else "prefix" if has_end else "exact"
    return Pattern(text, form, core)


def _without_end(text: str) -> tuple[str, bool]:
    """The text without a wildcard at its end, and whether there was one."""
    if len(text) > 2 and text.endswith(".*"):
        return text[:-2], True
    return text.removesuffix("*"), text.endswith("*")
