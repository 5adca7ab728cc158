"""Claims: the key of a unique window in a store, first for one publish, and then for the window (docs/adr/0049)."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass, field

from tasuki.contracts.driver import Merged
from tasuki.contracts.state.store import Store
from tasuki.errors import ConflictError, DriverError

_CLAIMED, _KEPT = b"?", b"="
_TRIES = 10
"""How often a key is asked for that was taken, and free again when we looked who has it."""
_SHORTEST_WAIT, _LONGEST_WAIT = 0.02, 0.5
"""Seconds after which the claim of another publish is checked again."""


class RestlessError(Exception):
    """A key was taken at each attempt, and free again."""


@dataclass(slots=True)
class Claim:
    """The request of one publish for a key; ``span``: seconds of the window."""

    key: str
    id: bytes
    span: float
    number: bytes = field(default_factory=lambda: os.urandom(8))
    version: int = 0
    """Of the entry that this publish has made; 0: it has none, or that is not known."""
    is_asked: bool = False
    """An entry of ours may be there."""
    is_behind: bool = False
    """Another publish has claimed the key, and has not ended."""

    @property
    def value(self) -> bytes:
        """Of the entry as long as the publish lasts."""
        return _CLAIMED + self.number + self.id


async def take(store: Store, claim: Claim, ttl: float) -> Merged | None:
    """Claim a key for ``ttl`` seconds, and wait while another publish has claimed it.

    Returns:
        None: the message is to be published. Else the one that has the key.

    Raises:
        DriverError: the key may be claimed if ``claim.is_asked``.
        RestlessError: it is not.
    """
    expected, tries, delay = 0, 0, _SHORTEST_WAIT
    while tries < _TRIES:
        tries += 1
        if await _put(store, claim, expected, ttl):
            return None
        entry = await store.get(claim.key)
        if entry is not None and entry.value == claim.value:  # the answer to our put was lost
            claim.version = entry.version
            return None
        expected = 0
        if entry is None:
            continue
        state, id = _read(entry.value)
        if state == _KEPT:
            claim.is_asked = False
            # With its id: an earlier publish of this message, whose outcome was unknown.
            return None if id == claim.id else Merged("kept", id.decode("utf-8", "surrogatepass"))
        if id == claim.id:
            expected = entry.version
            continue
        claim.is_behind, tries = True, 0
        await asyncio.sleep(delay)
        delay = min(2 * delay, _LONGEST_WAIT)
    claim.is_asked = False
    raise RestlessError(f"its key was taken {_TRIES} times, and free again")


async def _put(store: Store, claim: Claim, expected: int, ttl: float) -> bool:
    """Whether the key is ours now; False: look who has it."""
    claim.is_asked = True
    try:
        claim.version = await store.put(claim.key, claim.value, version=expected, ttl=ttl)
    except ConflictError:
        return False
    except DriverError as problem:
        if problem.outcome == "rejected":
            claim.is_asked = False
            raise
        return False
    return True


def _read(value: bytes) -> tuple[bytes, bytes]:
    """State and id of an entry."""
    return (_CLAIMED, value[9:]) if value[:1] == _CLAIMED else (_KEPT, value[1:])


async def keep(store: Store, claim: Claim) -> None:
    """Keep the key for a stored message, for the window, unless another message has it. Raises DriverError."""
    version = claim.version
    for _ in range(_TRIES):
        with suppress(ConflictError):
            await store.put(claim.key, _KEPT + claim.id, version=version, ttl=claim.span)
            return
        entry = await store.get(claim.key)
        if entry is not None and _read(entry.value)[1] != claim.id:
            return
        version = 0 if entry is None else entry.version


async def give_back(store: Store, claim: Claim) -> None:
    """Free a key whose message was not stored. Raises DriverError."""
    version = claim.version
    if not version:
        entry = await store.get(claim.key)
        version = entry.version if entry is not None and entry.value == claim.value else 0
    if version:
        with suppress(ConflictError):
            await store.delete(claim.key, version=version)
