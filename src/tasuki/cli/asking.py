"""Asking before something is removed that cannot be brought back."""

from __future__ import annotations

import sys

import click

from tasuki.cli.exits import CommandError
from tasuki.cli.output import is_terminal


def confirm(question: str) -> None:
    """Go on if the user answers yes. Raises CommandError otherwise."""
    try:
        is_wanted = click.confirm(question, err=True)
    except click.Abort:
        if is_terminal(sys.stdin):
            raise
        is_wanted = False  # the input ended without an answer
    if not is_wanted:
        raise CommandError("nothing was removed; answer y, or give --yes")
