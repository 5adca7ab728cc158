"""Plain data with which a child process becomes a Python handler, and the data that accompany each message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class PythonTarget:
    """See PythonHandler for the first fields; ``memory``: bytes; ``level``: the lowest that is logged.

    ``is_task``: its body is ``{parameter: value}``. ``prepare``: import path of a function that the process calls
    before it imports the handler, outside of event loops; it returns an Around, or None.
    """

    id: str
    import_path: str | None = None
    source: str | None = None
    method: str | None = None
    threads: int = 1
    memory: int | None = None
    level: int = 0
    is_task: bool = False
    prepare: str | None = None


class Circumstances(msgspec.Struct, array_like=True):
    """The parts of a context that do not change during a call."""

    function: str
    attempt: int
    failures: int
    is_last_attempt: bool
    queue: str
    consumer: str
    message: tuple[str, bytes, dict[str, bool | int | float | str]] | None
    values: dict[str, Any]
    has_permissions: bool
    level: int
    keeps_result: bool
    trace: dict[str, str]
    """The headers of the trace that runs now; empty: there is none."""
