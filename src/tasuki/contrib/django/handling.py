"""Handlers of Django: their rows, their messages and the ack of their message commit together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from django.db import connections, transaction

from tasuki.contracts.handler import Context
from tasuki.contracts.state.transaction_context import SyncTransaction


def atomic(context: Context, using: str = "default") -> AbstractContextManager[SyncTransaction]:
    """``transaction.atomic()`` of Django that also acks the message, in a plain handler.

    See :meth:`tasuki.contracts.handler.Context.transaction`. The models of the block use the database of this alias,
    which must be the one that holds the queues (``TASUKI['DATABASE']``). It cannot be within another ``atomic``.
    """
    return context.sync.transaction(partial(_opened, using))


@contextmanager
def _opened(using: str) -> Iterator[Any]:
    with transaction.atomic(using=using, durable=True):
        yield connections[using].connection
