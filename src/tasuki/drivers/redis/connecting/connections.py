"""Connections: of one open driver, for each event loop that uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from tasuki.drivers.redis.connecting.servers import Server

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.nodes import Nodes


class Connections:
    """Made on the loop that opens the driver; the lease thread and others come with their own loops."""

    def __init__(self, make: Callable[[], Nodes]) -> None:
        self._make = make
        self._home = asyncio.get_running_loop()
        self.home = make()
        """The nodes of the loop that opened the driver."""
        self._by_loop = {(self._home, False): self.home}

    def here(self, *, slow: bool = False) -> Nodes:
        """The connections of the running loop; ``slow`` ones for commands that would hold the others up."""
        key = asyncio.get_running_loop(), slow
        nodes = self._by_loop.get(key)
        if nodes is None:
            for other in [other for other in self._by_loop if other[0].is_closed()]:
                self._by_loop.pop(other, None)
            nodes = self._by_loop[key] = self._make()
        return nodes

    def leave(self, server: Server) -> None:
        """Give up a server in all loops."""
        for (loop, _), nodes in list(self._by_loop.items()):
            self._call(loop, partial(nodes.leave, server))

    def close(self) -> None:
        """Close the connections of all loops."""
        for (loop, _), nodes in list(self._by_loop.items()):
            self._call(loop, nodes.close)

    def _call(self, loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
        if loop is self._home:
            action()
        elif not loop.is_closed():
            with suppress(RuntimeError):  # it was closed just now, and its connections with it
                loop.call_soon_threadsafe(action)
