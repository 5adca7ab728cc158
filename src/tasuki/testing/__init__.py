"""Shipped test tools: TestApp, the driver conformance suite, clocks, a pytest plugin.

Names are imported when they are first used: the pytest plugin loads this package in every run of pytest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasuki.kinds.stores import memory_store
    from tasuki.testing.context import RecordingContext
    from tasuki.testing.twin.reading.records import DeadLetter, Drained, Failure, Sent, Waiting
    from tasuki.testing.twin.test_app import TestApp
    from tasuki.testing.twin.work import NotSettled

__all__ = [
    "DeadLetter",
    "Drained",
    "Failure",
    "NotSettled",
    "RecordingContext",
    "Sent",
    "TestApp",
    "Waiting",
    "memory_store",
]

_HOME = {
    "DeadLetter": "tasuki.testing.twin.reading.records",
    "Drained": "tasuki.testing.twin.reading.records",
    "Failure": "tasuki.testing.twin.reading.records",
    "NotSettled": "tasuki.testing.twin.work",
    "RecordingContext": "tasuki.testing.context",
    "Sent": "tasuki.testing.twin.reading.records",
    "TestApp": "tasuki.testing.twin.test_app",
    "Waiting": "tasuki.testing.twin.reading.records",
    "memory_store": "tasuki.kinds.stores",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value
