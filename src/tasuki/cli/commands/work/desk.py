"""``tasuki desk``: the pages of a whole installation, without a worker."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import click

from tasuki.cli import loop
from tasuki.cli.options import project_options
from tasuki.cli.project import Target, refuse_all_private
from tasuki.cli.worker.admin import DEFAULT, Admin, admin_options

if TYPE_CHECKING:
    import socket

    from tasuki.desk.desk import Desk


@click.command("desk")
@admin_options(DEFAULT)
@project_options(is_argument=True, log_level="info")
def command(target: Target, admin: Admin) -> None:
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
