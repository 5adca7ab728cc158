"""A copy of an app that reads: the same declarations, with drivers, an event loop and connections of its own."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from tasuki.app.lifecycle.unused import UnusedConsumers
from tasuki.app.sync.running import SyncApp
from tasuki.consumers.fetching.keeper import Keeper
from tasuki.supervisor.supervisor import Supervisor
from tasuki.system.stopping import StopSignals

if TYPE_CHECKING:
    from tasuki.app.app import App


def reader_of(app: App) -> App:
    """An app for inspection, to be opened and closed by itself; it creates and changes nothing at the brokers.

    It may be open on another event loop than ``app``, which goes on as it is. What ``app`` declares later is read at
    the copy's next ``open``.
    """
    reader = copy.copy(app)
    reader.assembly = reader.loop = reader.owner = None
    reader.blocks, reader.observers, reader.selection = 0, [], None
    reader.stop_requested = reader.on_hangup = None
    reader.keeper, reader.supervisor = Keeper(app.clock), Supervisor(clock=app.clock)
    reader.stop_signals, reader.sync = StopSignals(), SyncApp(reader)
    reader.reads_only = True
    reader._health = reader._meter = reader._history = None  # noqa: SLF001 - the worker's go on when the copy ends
    reader._unused = UnusedConsumers(reader, "")  # noqa: SLF001
    return reader
