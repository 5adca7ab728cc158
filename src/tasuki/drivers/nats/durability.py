"""Durability: what a confirmed message survives, as far as the server's configuration is known."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tasuki.contracts.driver import Durability

QUORUM = 3
"""Replicas from which the loss of one server loses nothing."""


def level(storage: str, replicas: int, *, is_synced: bool) -> Durability:
    """The level of the contract.

    Without a sync for each write a server that loses its power forgets what it had confirmed. Replicas alone do not
    mend that: with its memory it loses its votes, and the other servers may go on without the newest messages.
    """
    if storage != "file":
        return "process"
    if not is_synced:
        return "broker"
    return "node" if replicas >= QUORUM else "power"


def says_always(monitoring: str, timeout: float) -> bool:
    """Whether the server's monitoring page says that each write is synced; False where it says nothing.

    Blocks: call it in a thread.
    """
    address = monitoring.rstrip("/") + "/varz"
    if not address.startswith(("http://", "https://")):
        return False
    try:
        with urllib.request.urlopen(address, timeout=timeout) as answer:  # noqa: S310 - the scheme was checked
            page: Any = json.loads(answer.read())
    except (OSError, ValueError):
        return False
    return is_always(page)


def is_always(page: Any) -> bool:
    """Whether ``/varz`` says ``sync_interval: always``."""
    try:
        return bool(page["jetstream"]["config"].get("sync_always"))
    except (KeyError, TypeError, AttributeError):
        return False
