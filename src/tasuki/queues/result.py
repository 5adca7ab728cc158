"""The result of a publish for each message: confirmed, rejected or unknown."""

from __future__ import annotations

import msgspec

from tasuki.contracts.driver import Durability
from tasuki.errors import TasukiError


class Confirmed(msgspec.Struct, frozen=True, gc=False):
    """The broker has taken responsibility for the message; ``durability`` says what it survives there."""

    id: str
    durability: Durability


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
