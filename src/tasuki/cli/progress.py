"""Progress bars: on stderr, and only if that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click

from tasuki.cli.output import has_colour, is_terminal


class Advance(Protocol):
    """Takes how far it is now, not how much further; and where its end is, if that moves."""

    def __call__(self, done: int, length: int = ..., /) -> None:
        """Show it."""


@contextmanager
def bar(length: int, label: str) -> Iterator[Advance]:
    """A bar that ends at ``length``."""
    if not is_terminal(sys.stderr):
        yield lambda done, length=length: None
        return
    with click.progressbar(length=max(length, 1), label=label, file=sys.stderr, color=has_colour(sys.stderr)) as shown:

        def advance(done: int, length: int = length) -> None:
            shown.length = max(length, done, 1)
            shown.update(done - shown.pos)

        yield advance
