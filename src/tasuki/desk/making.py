"""Making a desk: of an app that runs here, of an installation from outside, or to be mounted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasuki.desk.desk import Desk
from tasuki.desk.reading.reader import reader_of
from tasuki.desk.security.access import Access
from tasuki.desk.site import Site
from tasuki.desk.watched import Watched

if TYPE_CHECKING:
    from tasuki.app.app import App


def beside(app: App, access: Access, watched: Watched | None = None) -> Desk:
    """The desk of a worker, in another thread: it has connections of its own, and sees the worker's memory.

    ``watched``: what works, if that is not the app but processes beside this one.
    """
    version = None if watched is None else watched.version
    return Desk(Site(reader_of(app), app, opens=True, version=version), access, watched)


def alone(app: App, access: Access) -> Desk:
    """The desk of a whole installation, without a worker here."""
    return Desk(Site(reader_of(app), None, opens=True), access)


def mounted(app: App, access: Access) -> Desk:
    """The desk within a web application that has the app open: it sees what the app sees."""
    return Desk(Site(app, app, opens=False), access)
