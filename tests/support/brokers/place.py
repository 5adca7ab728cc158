"""Places: how the cases of the conformance suite share one broker, each behind a proxy of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.brokers.broker import Broker
from tests.support.proxy import Proxy

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


@asynccontextmanager
async def unreachable(place: Path) -> AsyncIterator[None]:
    """Refuse and cut all connections of a place for the time of the block."""
    proxy = _proxies[place]
    proxy.refuse()
    try:
        yield
    finally:
        proxy.serve()
