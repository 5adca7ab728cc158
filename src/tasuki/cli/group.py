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
        "init": ("project.project", "Make a new project that runs, in a new folder."),
        "check": ("project.project", "Check a project; nothing is started."),
        "graph": ("project.documents", "Draw drivers, queues, consumers and functions."),
        "policy": ("project.policy", "Explain what policies allow, and why."),
        "drivers": ("project.drivers", "Compare what the drivers can do."),
        "schema": ("project.documents", "Print the JSON Schema of project files, for editors."),
        "asyncapi": ("project.documents", "Print the AsyncAPI document of a project."),
        "docs": ("project.documents", "Print where the pages of this version are."),
        "doctor": ("project.doctor", "Examine installation, project and brokers."),
        "migrate": ("project.migrate", "Move a project from Celery or RQ."),
        "deploy": ("project.deploy", "Print files for systemd, Compose or Kubernetes."),
    },
    "work": {
        "run": ("work.run", "Run the consumers of a project until stopped."),
        "dev": ("work.run", "Run a project, follow its source, show its desk."),
        "desk": ("work.desk", "Show queues, messages and workers in a browser."),
        "top": ("work.desk", "Show and change queues, messages and workers in a terminal."),
        "mcp": ("work.desk", "Serve queues, messages and workers to a language model (MCP)."),
        "workers": ("work.workers", "List the worker processes on all machines."),
        "health": ("work.workers", "Say whether a worker is live, or ready; for probes."),
        "call": ("work.functions", "Call a function of the project."),
        "dry-run": ("work.edit", "Run a message's handler without its effects."),
        "edit": ("work.edit", "Change a dead letter, and send it back as a new message."),
        "test": ("work.functions", "Run the tests of a project."),
        "bench": ("work.bench", "Measure this machine: publish and consume."),
    },
    "jobs": {
        "cancel": ("queues.jobs", "Cancel messages, also those whose handlers run."),
        "status": ("queues.jobs", "Show the status of a message."),
        "explain": ("queues.jobs", "Say why a message does not run now."),
        "result": ("queues.jobs", "Print what the handler of a message returned."),
        "signal": ("queues.jobs", "Send a value to the messages that wait for it."),
    },
    "control": {
        "pause": ("queues.pauses", "Pause a queue, a consumer or a schedule."),
        "resume": ("queues.pauses", "End a pause."),
        "schedules": ("queues.schedules", "List the schedules, with their next and last times."),
        "run-now": ("queues.schedules", "Publish the message of a schedule now."),
        "scale": ("queues.pauses", "Set how many messages a consumer handles at a time."),
        "audit": ("queues.audit", "List who paused, cancelled, purged and the like."),
    },
    "queues": {
        "publish": ("queues.publish", "Publish one message, or a file of them."),
        "queues": ("queues.queues", "List the queues and how full they are."),
        "info": ("queues.queues", "Show the counts of one queue."),
        "dead": ("queues.dead", "Show dead letters in groups of one cause."),
        "peek": ("queues.queues", "Show waiting messages without taking them."),
        "show": ("queues.queues", "Show one waiting message, or make a test of it."),
        "redrive": ("queues.redrive", "Send dead letters back to where they came from."),
        "discard": ("queues.redrive", "Delete dead letters; they can be brought back for a while."),
        "batches": ("queues.redrive", "Show, stop or undo acts on many dead letters."),
        "remove": ("queues.removal", "Remove single messages from a queue."),
        "purge": ("queues.removal", "Remove the waiting messages of a queue."),
        "delete": ("queues.removal", "Delete a queue with all its messages."),
    },
}
"""Section of the help → command → its module in ``tasuki.cli.commands``, and its line in the help."""
_MODULES = {name: module for section in SECTIONS.values() for name, (module, _) in section.items()}
COMMANDS = {name: text for section in SECTIONS.values() for name, (_, text) in section.items()}
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
    """A group that imports the module of a command when it runs; the help needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which one meets them."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, unless it is not one of ours."""
        if cmd_name not in self.commands:
            return None
        module = importlib.import_module(f"tasuki.cli.commands.{_MODULES[cmd_name]}")
        command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
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
        for title, section in SECTIONS.items():
            with formatter.section(title.capitalize()):
                formatter.write_dl([(name, text) for name, (_, text) in section.items()])


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
