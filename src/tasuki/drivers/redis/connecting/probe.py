"""What the running server promises: its version, what it does when its memory is full, and what its disk keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasuki.contracts.driver import DURABILITIES, Durability
from tasuki.drivers.redis.errors import ReplyError
from tasuki.errors import UnsupportedError

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.link import Link
    from tasuki.drivers.redis.settings import Server

OLDEST = (6, 2)
"""ZMSCORE, and scripts that may read the time before they write."""
_SETTINGS = ("maxmemory", "maxmemory-policy", "appendonly", "appendfsync")
_PATTERN = "[am][pa][px][em]*"
"""Their names, and few others: one question for all, which servers before 7.0 allow only so."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A server's answer about itself; an empty text for each missing part."""

    version: str = ""
    maxmemory: str = ""
    policy: str = ""
    appendonly: str = ""
    appendfsync: str = ""


class Probe:
    """What each server promised when it was last asked: at each connection, and from time to time."""

    def __init__(self, driver: str) -> None:
        self._driver = driver
        self._facts: dict[Server, Facts] = {}
        self._levels: dict[Server, Durability] = {}
        """What follows from the facts; looked up at each publish."""

    async def ask(self, link: Link) -> None:
        """Ask a server. Raises LinkLostError or ReplyError."""
        known = self._facts.get(link.server)
        facts = self._facts[link.server] = await _facts(link, known.version if known is not None else "")
        self._levels[link.server] = level(facts)

    def check(self, server: Server) -> None:
        """Raise UnsupportedError for a server that is too old, or would throw messages away."""
        problem = objection(self._facts[server])
        if problem:
            raise UnsupportedError(f"Redis at {server}: {problem}", driver=self._driver)

    def level(self, links: Sequence[Link]) -> Durability | None:
        """What a confirmed message survives on the weakest of their servers; None if none is known."""
        if len(links) == 1:
            return self._levels.get(links[0].server)
        levels = [self._levels[link.server] for link in links if link.server in self._levels]
        return min(levels, key=DURABILITIES.index) if levels else None


def objection(facts: Facts) -> str:
    """Why the server cannot keep queues; empty if it can."""
    version = tuple(int(part) for part in facts.version.split(".")[:2] if part.isdecimal())
    if version and version < OLDEST:
        return f"it is version {facts.version}; Redis 6.2 or newer, or Valkey, is needed"
    if facts.maxmemory not in {"", "0"} and facts.policy not in {"", "noeviction"}:
        return (
            f"with maxmemory-policy {facts.policy} it throws messages away when its memory is full; "
            "run CONFIG SET maxmemory-policy noeviction, and write it into its configuration"
        )
    return ""


def level(facts: Facts) -> Durability:
    """What a confirmed message survives; only ``process`` where the server does not say that it keeps a log.

    Nothing where the server may throw it away: a failover can lead to one that no ``open`` would accept.
    """
    if objection(facts):
        return "memory"
    if facts.appendonly not in {"yes", "1"}:
        return "process"
    return "power" if facts.appendfsync == "always" else "broker"


async def _facts(link: Link, version: str) -> Facts:
    """From CONFIG, and from INFO where that is forbidden, as hosted servers do, or the version is not known yet."""
    if version:
        info, settings = {"redis_version": version}, await _settings(link)
        if len(settings) < len(_SETTINGS):
            info = await _info(link)
    else:  # in one round trip
        info, settings = await asyncio.gather(_info(link), _settings(link))
    return Facts(
        version=info.get("redis_version", ""),
        maxmemory=settings.get("maxmemory") or info.get("maxmemory", ""),
        policy=settings.get("maxmemory-policy") or info.get("maxmemory_policy", ""),
        appendonly=settings.get("appendonly") or info.get("aof_enabled", ""),
        appendfsync=settings.get("appendfsync", ""),
    )


async def _info(link: Link) -> dict[str, str]:
    try:
        text = (await link.call("INFO")).decode(errors="replace")
    except ReplyError as refusal:
        return _without(refusal)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


async def _settings(link: Link) -> dict[str, str]:
    try:
        answer = [word.decode() for word in await link.call("CONFIG", "GET", _PATTERN)]
    except ReplyError as refusal:
        return _without(refusal)
    return {name: value for name, value in zip(answer[::2], answer[1::2], strict=True) if name in _SETTINGS}


def _without(refusal: ReplyError) -> dict[str, str]:
    """Nothing, where the server does not want to be asked; else the refusal is raised."""
    if refusal.code in {"NOPERM", "ERR"}:
        return {}
    raise refusal
