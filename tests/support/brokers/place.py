"""Places: how the cases of the conformance suite share one broker, each behind its own proxy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

from tasuki.testing.conformance import Suite
from tasuki.testing.proxy import Proxy
from tests.support.brokers.broker import Broker

_FILE = "address.json"
_proxies: dict[Path, Proxy] = {}


def address(broker: type[Broker], place: Path) -> Mapping[str, Any]:
    """``port`` of the place's proxy, and ``name``, unique to the place; also in a child of the test process."""
    file = place / _FILE
    if not file.exists():
        for folder in [folder for folder in _proxies if not folder.exists()]:
            _proxies.pop(folder).close()
        proxy = _proxies[place] = Proxy(broker.shared().port)
        file.write_text(json.dumps({"port": proxy.port, "name": place.name.replace("-", "_")}))
    found: Mapping[str, Any] = json.loads(file.read_text())
    return found


def proxy_of(place: Path) -> Proxy:
    """The proxy of a place that has an address."""
    return _proxies[place]


class Proxied(Suite):
    """The hooks of a suite whose places have proxies, and whose broker is ``shared_broker``."""

    shared_broker: ClassVar[type[Broker]]

    @asynccontextmanager
    async def broken(self, place: Path) -> AsyncIterator[None]:
        """Refuse and cut all connections of the place."""
        with _until_served(place) as proxy:
            proxy.refuse()
            yield

    @asynccontextmanager
    async def silent(self, place: Path) -> AsyncIterator[None]:
        """Let no byte through."""
        with _until_served(place) as proxy:
            proxy.silence()
            yield

    @asynccontextmanager
    async def unanswered(self, place: Path) -> AsyncIterator[None]:
        """Let requests through, and no answer; then cut."""
        with _until_served(place) as proxy:
            proxy.swallow()
            yield

    @asynccontextmanager
    async def cut_short(self, place: Path, answers: int) -> AsyncIterator[Callable[[], bool]]:
        """Cut all connections of the place at an answer."""
        with _until_served(place) as proxy:
            proxy.cut_short(answers)
            yield lambda: not proxy.is_cutting_short

    def detour(self, place: Path) -> Path:
        """A place of the same name, which has its own proxy."""
        there = place / "detour" / place.name
        there.mkdir(parents=True, exist_ok=True)
        return there

    async def kill(self, place: Path) -> None:
        """SIGKILL the broker, and start it again."""
        await asyncio.to_thread(self.shared_broker.shared().restart)

    async def save(self, place: Path) -> None:
        """Kill the broker, copy its data, and start it again."""
        await asyncio.to_thread(self.shared_broker.shared().save)

    async def restore(self, place: Path) -> None:
        """Kill the broker, put the copy in place of its data, and start it again."""
        await asyncio.to_thread(self.shared_broker.shared().restore)


@contextmanager
def _until_served(place: Path) -> Iterator[Proxy]:
    proxy = _proxies[place]
    try:
        yield proxy
    finally:
        proxy.serve()
