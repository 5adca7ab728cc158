"""Moving: the words of the script, and why a move cannot be tried. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from tasuki.contracts.driver import Move
from tasuki.drivers.redis.batches import optioned, publishing, readable
from tasuki.drivers.redis.scripts import Place
from tasuki.errors import DriverError

NOT_TRIED = 3
"""The script's answer where a publish has to wait for the disk or replicas before anything is acked."""
MOST = 100
"""Moves of one script: each costs the server about as much as a settlement with order per key."""
_ALL_OR_NONE = 3

Words = list[bytes | int]


def refusal(target: Place, move: Move, *, driver: str, most: int) -> DriverError | None:
    """Why a move cannot be tried, or None; ``most``: bytes of the largest message."""
    work = publishing(target.spec, move.messages, driver=driver, most=most)
    return next((error for error in work.results if error is not None), None)


def words(moves: Sequence[Move]) -> Words:
    """The arguments of the script."""
    told: Words = []
    for move, receipt in zip(moves, readable([move.receipt for move in moves]), strict=True):
        stored = [word for message in move.messages for word in optioned(message)]
        told += [receipt, 1 + len(stored), _ALL_OR_NONE, *stored]
    return told
