"""Opened: whether a store is open in this process, and what its watches have in each event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from tasuki.errors import BrokerUnavailableError
from tasuki.system import forks

F = TypeVar("F")

_inherited: list[object] = []
"""A parent process's, in a forked child: never freed, as that would close what both processes share."""


class Opened(Generic[F]):
    """Of one store. A forked child finds it closed until it opens the store itself."""

    def __init__(self, store: str, driver: str) -> None:
        self._store = store
        self._driver = driver
        self._forks = -1
        self._feeds: dict[asyncio.AbstractEventLoop, F] = {}

    def open(self) -> None:
        """The verbs may be called, in this process."""
        self._let_go_of_parent()
        self._forks = forks.count

    def close(self) -> Sequence[tuple[asyncio.AbstractEventLoop, F]]:
        """The verbs are refused. Returns the feeds that the caller has to end, each in its loop."""
        self._let_go_of_parent()
        self._forks = -1
        feeds, self._feeds = self._feeds, {}
        return [(loop, feed) for loop, feed in feeds.items() if not loop.is_closed()]

    def check(self) -> None:
        """Raises BrokerUnavailableError if the store is not open here."""
        if self._forks != forks.count:
            problem = f"store {self._store!r} of driver {self._driver!r} is not open; open it first"
            raise BrokerUnavailableError(problem, driver=self._driver)

    def here(self, make: Callable[[], F]) -> F:
        """The feed of the running loop. Raises BrokerUnavailableError."""
        self.check()
        loop = asyncio.get_running_loop()
        if loop not in self._feeds:
            for other in [other for other in self._feeds if other.is_closed()]:
                del self._feeds[other]
            self._feeds[loop] = make()
        return self._feeds[loop]

    def _let_go_of_parent(self) -> None:
        if self._forks not in {-1, forks.count} and self._feeds:
            _inherited.append(self._feeds)
            self._feeds = {}
