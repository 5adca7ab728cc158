"""Running ``tasuki top``: until it is left, on a terminal; or once, as a table."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

from tasuki.app.app import reader_of
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.desk.security.sessions import ActorSession
from tasuki.desk.site import Site
from tasuki.desk.viewer import Viewer
from tasuki.fields.types import DriverKind
from tasuki.kinds.asyncapi.servers import LOCAL, place_of
from tasuki.observe.plain import escape
from tasuki.system.process import user_and_host

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.kinds.check.project import Project


def reading_of(app: App, actor: str = "", *, is_brief: bool = False) -> Viewer:
    """The reading of a whole installation, without a worker here; ``is_brief``: what fails is not logged as well."""
    reader = reader_of(app)
    reader._runtime.is_brief = is_brief
    site = Site(reader, None, opens=True)
    return Viewer(site, ActorSession("top", actor or user_and_host(), "", "terminal"), app._runtime.clock)


async def follow(app: App, project: Project, *, actor: str = "", is_ascii: bool = False) -> None:
    """Show the installation until the user leaves. Needs a terminal."""
    from tasuki.top.frame.cells import ASCII, UNICODE
    from tasuki.top.frame.scene import Scene
    from tasuki.top.screen import Top

    reading = reading_of(app, actor)
    signs = ASCII if is_ascii or not can_show_signs() else UNICODE
    scene = Scene(escape(app._runtime.root.resolve().name) or "/", drivers_of(project), signs, [])
    top = Top(reading, scene, app._runtime.clock)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, top.exit)
    try:
        await top.run_async(mouse=False)
    finally:
        await reading.close()


async def look_once(app: App, actor: str = "") -> Snapshot:
    """One snapshot."""
    reading = reading_of(app, actor, is_brief=True)
    try:
        return await reading.ask(partial(reading.snapshot, now=True))
    finally:
        await reading.close()


def can_show_signs() -> bool:
    """Whether the terminal takes characters beyond ASCII."""
    encoding = (sys.__stderr__.encoding if sys.__stderr__ is not None else "") or ""
    return encoding.lower().replace("-", "") == "utf8" and os.environ.get("TERM") != "linux"


def drivers_of(project: Project) -> str:
    """Where the queues are, without passwords: ``sqlite .tasuki/queue.db, redis cache:6379``."""
    found = []
    for id, kind in project.kinds.items():
        if isinstance(kind, DriverKind):
            place = place_of(kind, project.configs[id])
            hosts = "" if place.hosts == [LOCAL] and place.path else ",".join(place.hosts)
            where = "" if kind.short_name == "memory" else f" {hosts}{place.path}".rstrip("/")
            found.append(escape(f"{kind.short_name}{where}"))
    return ", ".join(dict.fromkeys(found))
