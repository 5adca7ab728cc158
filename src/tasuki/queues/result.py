"""The result of a publish for each message: confirmed, rejected or unknown."""

from __future__ import annotations

from typing import Literal

import msgspec

from tasuki.contracts.driver import Durability, Merged
from tasuki.errors import TasukiError


class Confirmed(msgspec.Struct, frozen=True, gc=False):
    """The broker has taken responsibility for the message; ``durability`` says what it survives there."""

    id: str
    """Of the message that counts: the published one, or, where that was ``kept``, the one that has its key."""
    durability: Durability
    outcome: Literal["stored", "kept", "replaced", "extended"] = "stored"
    """What became of a unique message: stored, or another message has its key, and was kept, replaced or delayed."""
    instead_of: str | None = None
    """Id of the message that was replaced or extended."""


class Rejected(msgspec.Struct, frozen=True):
    """Nothing was stored, and why; ``retryable`` says whether trying again may help."""

    id: str
    error: TasukiError
    retryable: bool


class Unknown(msgspec.Struct, frozen=True):
    """The message may be stored or not: publishing again with the same id is the recovery."""

    id: str
    error: TasukiError


PublishResult = Confirmed | Rejected | Unknown


def confirmed(id: str, durability: Durability, merged: Merged | None) -> Confirmed:
    """The result of a publish that did not fail; the same id again is not another message."""
    if merged is None or (merged.how == "kept" and merged.other == id):
        return Confirmed(id, durability)
    if merged.how == "kept":
        return Confirmed(merged.other, durability, "kept")
    return Confirmed(id, durability, merged.how, merged.other)
