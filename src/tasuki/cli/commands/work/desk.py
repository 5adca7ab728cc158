"""``tasuki desk``, ``top`` and ``mcp``: a whole installation for people and language models, without a worker."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from tasuki.cli import loop
from tasuki.cli.exits import UNREACHABLE, CommandError
from tasuki.cli.options import project_options
from tasuki.cli.output import UNKNOWN, age, is_terminal, print_table
from tasuki.cli.project import Target, refuse_all_private
from tasuki.cli.worker.admin import DEFAULT, Admin, admin_options
from tasuki.observe.plain import escape

if TYPE_CHECKING:
    import socket

    from tasuki.desk.desk import Desk
    from tasuki.desk.reading.snapshot import QueueRow, Snapshot
    from tasuki.mcp.passages import Passage


@click.command("desk")
@admin_options(DEFAULT)
@project_options(is_argument=True, log_level="info")
def desk_command(target: Target, admin: Admin) -> None:
    """Show the queues, messages and workers of the project TARGET in a browser, and act on them.

    It runs until stopped, and no message is handled here. Queues in memory are shown by their own process alone:
    'tasuki run --admin'.
    """
    app = target.load()
    refuse_all_private(app.check())
    door = admin.listen(app._runtime.root)
    from tasuki.desk.desk import alone

    click.echo(f"desk: {door.link} (stop with Ctrl-C)", err=True)
    loop.run(_serve(alone(app, door.access), door.listening))


async def _serve(desk: Desk, listening: socket.socket) -> None:
    from tasuki.desk.server import serve

    work = asyncio.create_task(serve(desk, listening))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        if not work.cancelled():
            work.cancel()
            await asyncio.wait([work])


_MOST = 1000
"""Lines that are held; the oldest make room."""


class _Held(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: deque[logging.LogRecord] = deque(maxlen=_MOST)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def held_logs() -> Iterator[None]:
    """Write no log line within the block, and at its end the newest of them."""
    root = logging.getLogger()
    before, held = root.handlers[:], _Held()
    root.handlers[:] = [held]
    try:
        yield
    finally:
        root.handlers[:] = before
        for record in held.records:
            root.handle(record)


_HEADINGS = ("QUEUE", "READY", "RUN", "DELAY", "DEAD", "OLDEST", "WORKERS", "DRIVER")


@click.command("top")
@click.option("--actor", default="", metavar="ID", help="Who acts, for policies and the log.  [default: user@host]")
@click.option("--ascii", "is_ascii", is_flag=True, help="Draw with ASCII characters alone.")
@click.option("--once", "is_once", is_flag=True, help="Print the queues once; also where the output is no terminal.")
@project_options(is_argument=True)
def top_command(target: Target, actor: str, *, is_ascii: bool, is_once: bool) -> None:
    """Show the queues, messages and workers of the project TARGET in this terminal, and act on them.

    '?' lists the keys, 'q' ends it. No message is handled here. Queues in memory are shown by their own process alone:
    'tasuki run --admin'.
    """
    app = target.load()
    project = app.check()
    refuse_all_private(project)
    from tasuki.system.extras import require_extra

    is_once = is_once or not is_terminal(sys.stdout)
    require_extra("top --once" if is_once else "top")
    from tasuki.top.running import follow, look_once

    if is_once:
        _print(loop.run(look_once(app, actor)))
        return
    if not is_terminal(sys.stdin) or not is_terminal(sys.stderr):
        raise CommandError("tasuki top reads keys and draws on a terminal, and stdin or stderr is none; use --once")
    with held_logs():
        loop.run(follow(app, project, actor=actor, is_ascii=is_ascii))


def _print(snapshot: Snapshot) -> None:
    from tasuki.desk.presentation.words import tell
    from tasuki.desk.reading.attention import of_workers

    print_table(_HEADINGS, [_cells(row) for row in snapshot.queues.values()])
    if 0 < len(snapshot.queues) == snapshot.uncounted:
        raise CommandError("; ".join(snapshot.problems) or "no queue could be read", code=UNREACHABLE)
    for notice in of_workers(snapshot):
        click.echo(escape(tell("en", notice.key, notice.values)), err=True)


def _cells(row: QueueRow) -> tuple[object, ...]:
    if row.depth is None:
        return (row.id, *[UNKNOWN] * 5, UNKNOWN, row.driver)
    sign = "~" if row.depth.is_estimate else ""
    dead = UNKNOWN if row.dead is None else row.dead
    workers = UNKNOWN if row.workers is None else row.workers
    delayed = UNKNOWN if row.delayed is None else f"{sign}{row.delayed}"
    oldest = age(row.oldest_age) if row.oldest_age else UNKNOWN
    running = f"{row.busy}/{row.places}" if row.knows_workers else UNKNOWN
    return (row.id, f"{sign}{row.ready}", running, delayed, dead, oldest, workers,
            row.driver)  # fmt: skip


@click.command("mcp")
@click.option(
    "--actor", default="", metavar="ID", help="Who asks and acts, for policies and the log.  [default: mcp:USER]"
)
@click.option("--allow-acts", "allows_acts", is_flag=True, help="Offer acts too, as far as policies allow the actor.")
@project_options(is_argument=True)
def mcp_command(target: Target, actor: str, *, allows_acts: bool) -> None:
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
