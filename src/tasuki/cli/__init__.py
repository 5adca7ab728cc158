"""The command line; the module of a command is imported when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasuki.cli.worker.starting import EarlySignals

BROKEN_PIPE = 141
"""What a shell shows for a program that ended by SIGPIPE."""


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line (``sys.argv`` if none is given); returns the exit code, see :mod:`tasuki.cli.exits`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # it was closed: the next file that is opened would get its number
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for the whole process
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")  # a terminal that lacks a character must not end a command
    try:
        code = _run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        code = BROKEN_PIPE
    if loop := sys.modules.get("tasuki.cli.loop"):
        loop.leave_if_stuck(code)
    return code


def _run(args: Sequence[str] | None) -> int:
    words = sys.argv[1:] if args is None else list(args)
    if words[:1] not in (["run"], ["dev"]):
        return _command(words)
    from tasuki.cli.worker.starting import EarlySignals, StoppedError

    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(line_buffering=True)  # what a handler prints is seen at once, in a file and through a pipe too
    early = EarlySignals()
    with early.handled():  # before all that takes its time to import
        try:
            code = _command(words, early)
        except StoppedError:
            code = 0
    return 0 if early.has_stopped else code


def _command(words: list[str], early: EarlySignals | None = None) -> int:
    import click

    from tasuki.cli.exits import INTERRUPTED, exit_code_of, show_error
    from tasuki.cli.group import OutputClosedError, root
    from tasuki.errors import TasukiError

    try:
        _check_folder()
        code = root.main(words, prog_name="tasuki", standalone_mode=False, obj=early)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OutputClosedError as error:
        raise BrokenPipeError from error
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except TasukiError as error:
        show_error(error)
        return exit_code_of(error)
    return code if isinstance(code, int) else 0


def _check_folder() -> None:
    """Raise CommandError if the current folder has been removed: no relative path means anything there."""
    from tasuki.cli.exits import CONFIG, CommandError

    try:
        os.getcwd()
    except FileNotFoundError:
        raise CommandError("the current folder has been removed; change to another one", code=CONFIG) from None


def _drop_output() -> None:
    """Discard buffered output when the reader has gone, so that the interpreter does not complain at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        pass
    finally:
        os.close(nowhere)
