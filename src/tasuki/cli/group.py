"""The root command: it has the names of all commands, and imports a command only to run it or to show its help."""

from __future__ import annotations

import errno
import importlib
import os
from typing import Any

import click

from tasuki import __version__
from tasuki.errors import TasukiError

SECTIONS = {
    "project": {
        "init": "Make a new project that runs, in a new folder.",
        "check": "Check a project; nothing is started.",
        "graph": "Draw drivers, queues, consumers and functions.",
        "policy": "Explain what policies allow, and why.",
        "drivers": "Compare what the drivers can do.",
        "schema": "Print the JSON Schema of project files, for editors.",
        "asyncapi": "Print the AsyncAPI document of a project.",
        "doctor": "Examine installation, project and brokers.",
        "deploy": "Print files for systemd, Compose or Kubernetes.",
    },
    "work": {
        "run": "Run the consumers of a project until stopped.",
        "dev": "Run a project, follow its source, show its desk.",
        "desk": "Show queues, messages and workers in a browser.",
        "top": "Show and change queues, messages and workers in a terminal.",
        "mcp": "Serve queues, messages and workers to a language model (MCP).",
        "workers": "List the worker processes on all machines.",
        "health": "Say whether a worker is live, or ready; for probes.",
        "call": "Call a function of the project.",
        "dry-run": "Run a message's handler without its effects.",
        "edit": "Change a dead letter, and send it back as a new message.",
        "test": "Run the tests of a project.",
        "bench": "Measure this machine: publish and consume.",
    },
    "jobs": {
        "cancel": "Cancel messages, also those whose handlers run.",
        "status": "Show the status of a message.",
        "explain": "Say why a message does not run now.",
        "result": "Print what the handler of a message returned.",
        "signal": "Send a value to the messages that wait for it.",
    },
    "control": {
        "pause": "Pause a queue, a consumer or a schedule.",
        "resume": "End a pause.",
        "schedules": "List the schedules, with their next and last times.",
        "run-now": "Publish the message of a schedule now.",
        "scale": "Set how many messages a consumer handles at a time.",
        "audit": "List who paused, cancelled, purged and the like.",
    },
    "queues": {
        "publish": "Publish one message, or a file of them.",
        "queues": "List the queues and how full they are.",
        "info": "Show the counts of one queue.",
        "dead": "Show dead letters in groups of one cause.",
        "peek": "Show waiting messages without taking them.",
        "show": "Show one waiting message, or make a test of it.",
        "redrive": "Send dead letters back to where they came from.",
        "discard": "Delete dead letters; they can be brought back for a while.",
        "batches": "Show, stop or undo acts on many dead letters.",
        "remove": "Remove single messages from a queue.",
        "purge": "Remove the waiting messages of a queue.",
        "delete": "Delete a queue with all its messages.",
    },
}
"""Folder in ``tasuki.cli.commands`` → name of each command, as in its module → its line in the help."""
COMMANDS = {name: text for section in SECTIONS.values() for name, text in section.items()}
_FOLDERS = {name: folder for folder, section in SECTIONS.items() for name in section}
OTHERS = {
    **dict.fromkeys(("worker", "start", "work", "serve", "up"), "tasuki run [TARGET]"),
    **dict.fromkeys(("send", "enqueue", "push", "put"), "tasuki publish QUEUE [BODY]"),
    **dict.fromkeys(("list", "ls", "stats"), "tasuki queues"),
    **dict.fromkeys(("dashboard", "web", "ui", "monitor", "flower"), "tasuki desk [TARGET]"),
    **dict.fromkeys(("new", "create", "startproject"), "tasuki init DIR"),
    **dict.fromkeys(("failed", "failures", "dlq", "errors"), "tasuki dead [QUEUE]"),
    **dict.fromkeys(("retry", "requeue", "replay"), "tasuki redrive QUEUE"),
}
"""Commands of other programs → ours."""
DESTRUCTIVE = frozenset({"cancel", "discard", "remove", "purge", "delete"})
"""Commands that end messages: never suggested for a name that does not exist."""


class OutputClosedError(Exception):
    """The reader of stdout has gone."""


class LazyGroup(click.Group):
    """A group whose commands are modules; the help needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which one meets them."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, unless it is not one of ours."""
        if cmd_name not in self.commands:
            return None
        command = importlib.import_module(
            f"tasuki.cli.commands.{_FOLDERS[cmd_name]}.{cmd_name.replace('-', '_')}"
        ).command
        assert isinstance(command, click.Command)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click.Group; an option of a command before its name is answered with the order."""
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            command = next((word for word in words if word in self.commands), "COMMAND")
            hint = f" Options of a command are written after it: tasuki {command} {error.option_name} …"
            raise click.UsageError(error.message + hint, ctx) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See click.Group; its suggestions for an unknown command must be harmless."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if remedy := OTHERS.get(args[0]):
                raise click.UsageError(f"{error.message} Write: {remedy}", ctx) from error
            near: list[str] = getattr(error, "possibilities", None) or []
            if DESTRUCTIVE.isdisjoint(near):
                raise
            harmless = [name for name in near if name not in DESTRUCTIVE]
            hint = f" Did you mean {' or '.join(map(repr, harmless))}?" if harmless else ""
            raise click.UsageError(error.message + hint, ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a broken pipe leaves under another name, because Click would end the process for it."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise OutputClosedError from error
        except OSError as error:
            if error.errno != errno.ENOSPC or error.filename is not None:
                raise
            raise TasukiError(f"cannot write the output: {error.strerror}") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, without importing anything."""
        for folder, section in SECTIONS.items():
            with formatter.section(folder.capitalize()):
                formatter.write_dl(list(section.items()))


@click.group(
    cls=LazyGroup,
    commands={name: click.Command(name, short_help=text) for name, text in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="The project: TARGET or -p, else TASUKI_PROJECT, else app of [tool.tasuki] in the nearest pyproject.toml, "
    "else the only project of the current folder.\n\n"
    "Exit codes: 0 ok, 1 error or failed test, 2 usage, 3 configuration, 4 broker unreachable, "
    "5 stopped late with messages released, 130/143 signals.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def root(ctx: click.Context) -> None:
    """Tasuki: message queues and workers, declared once, on any broker."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False
