"""Transactions: settle a message within one, for its context."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class OpenTransaction(Protocol):
    """A transaction that settles its message at its end."""

    connection: Any

    def remember(self, result: object) -> None:
        """Keep a result for the key of the message. Raises HandlerError (Invalid): it cannot be."""


class Transacting(Protocol):
    """Opens the transactions of one message."""

    @property
    def in_transaction(self) -> bool:
        """Whether one is open."""

    def transaction(self, connection: Any, *, sync: bool) -> AbstractAsyncContextManager[OpenTransaction]:
        """See ``TransactionContext.transaction``; with ``sync`` it never suspends."""
