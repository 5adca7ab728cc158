"""``tasuki mcp``: queues, messages and workers as tools of a language model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from tasuki.cli import loop
from tasuki.cli.exits import CommandError
from tasuki.cli.options import project_options
from tasuki.cli.output import is_terminal
from tasuki.cli.project import Target, refuse_all_private

if TYPE_CHECKING:
    from tasuki.mcp.passages import Passage


@click.command("mcp")
@click.option(
    "--actor", default="", metavar="ID", help="Who asks and acts, for policies and the log.  [default: mcp:USER]"
)
@click.option("--allow-acts", "allows_acts", is_flag=True, help="Offer acts too, as far as policies allow the actor.")
@project_options(is_argument=True)
def command(target: Target, actor: str, *, allows_acts: bool) -> None:
    """Serve the project TARGET to a client of the Model Context Protocol, on stdin and stdout.

    The client starts this command itself. All tools read, unless --allow-acts is given and a policy of the project
    allows the actor queue.admin.…; logs go to stderr. Queues in memory are seen by their own process alone.
    """
    from tasuki.system.extras import require_extra

    require_extra("mcp")
    if is_terminal(sys.stdin):
        raise CommandError(
            "tasuki mcp is started by a client of the protocol, and stdin is a terminal; see docs/how-to/mcp.md"
        )
    from tasuki.mcp.wire import take

    try:
        wire = take()
    except OSError as error:
        raise CommandError(f"tasuki mcp needs stdin and stdout for its client: {error}") from error
    app = target.load()
    project = app.check()
    refuse_all_private(project)
    from tasuki.mcp.passages import Passages
    from tasuki.mcp.running import require_policy, serve, source_of
    from tasuki.system.process import user

    actor = actor or f"mcp:{user()}"
    if allows_acts:
        require_policy(project, actor)
    options = [word for each in target.overrides for word in ("-o", each)]
    check = [sys.executable, "-m", "tasuki", "check", "--json", *options, *target.words]
    source = source_of(app, actor, check, Passages(_passages), allows_acts=allows_acts)
    loop.run(serve(source, wire, allows_acts=allows_acts))


def _passages() -> Iterator[Passage]:
    from tasuki.mcp.passages import Passage, of_kinds, of_python

    yield from _of_commands()
    yield Passage("all commands", _help("tasuki", _root()))
    yield from of_kinds()
    yield from of_python()


def _of_commands() -> Iterator[Passage]:
    from tasuki.mcp.passages import Passage

    root = _root()
    context = click.Context(root, info_name="tasuki")
    for name in root.list_commands(context):
        if (found := root.get_command(context, name)) is not None:
            yield Passage(f"command tasuki {name}", _help(f"tasuki {name}", found))


def _root() -> click.Group:
    from tasuki.cli.group import root

    return root


def _help(name: str, command: click.Command) -> str:
    return command.get_help(click.Context(command, info_name=name))
