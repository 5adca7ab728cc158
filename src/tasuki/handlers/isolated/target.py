"""What a child process must know to become a Python handler, and what it is told with each message; plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class PythonTarget:
    """See PythonHandler for the first fields; ``memory``: bytes; ``level``: of the records that somebody reads."""

    id: str
    import_path: str | None = None
    source: str | None = None
    method: str | None = None
    threads: int = 1
    memory: int | None = None
    level: int = 0


class Circumstances(msgspec.Struct, array_like=True):
    """The parts of a context that do not change during a call."""

    function: str
    attempt: int
    queue: str
    consumer: str
    message: tuple[str, bytes, dict[str, bool | int | float | str]] | None
    values: dict[str, Any]
    has_permissions: bool
    level: int
