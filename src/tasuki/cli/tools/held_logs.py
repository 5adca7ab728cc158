"""Log lines that are held back while a command draws on the whole terminal."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

_MOST = 1000
"""Lines that are held; the oldest make room."""


class _Held(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: deque[logging.LogRecord] = deque(maxlen=_MOST)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def held_logs() -> Iterator[None]:
    """Write no log line within the block, and at its end the newest of them."""
    root = logging.getLogger()
    before, held = root.handlers[:], _Held()
    root.handlers[:] = [held]
    try:
        yield
    finally:
        root.handlers[:] = before
        for record in held.records:
            root.handle(record)
