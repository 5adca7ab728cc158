"""Tasuki: declare drivers, queues, consumers and handlers once; swap the broker by one entry; lose nothing.

The public names; each is imported when it is first used, so that ``import tasuki`` stays quick.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if sys.platform == "win32":
    _problem = "Tasuki runs on Linux and macOS, not on Windows; there it runs in the Windows Subsystem for Linux (WSL)"
    if os.path.basename(sys.argv[0]).startswith("tasuki") or sys.orig_argv[1:3] == ["-m", "tasuki"]:
        sys.exit(_problem)  # the command line: one sentence, without a traceback
    raise ImportError(_problem)

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.handle import QueueHandle
    from tasuki.app.jobs import Job, SyncJob
    from tasuki.app.tasks import Task
    from tasuki.consumers.surroundings import Handle
    from tasuki.contracts.context import Retries
    from tasuki.contracts.handler import Context, Interrupted, Reject, Retry, Snooze
    from tasuki.contracts.observer import Moment, Observer
    from tasuki.errors import TasukiError
    from tasuki.handlers.threads import interrupted_as
    from tasuki.message import Message
    from tasuki.observe.log import LogFields
    from tasuki.queues.middleware import Publish
    from tasuki.queues.queue import Envelope
    from tasuki.queues.result import Confirmed, Rejected, Unknown

__all__ = [
    "App",
    "Confirmed",
    "Context",
    "Envelope",
    "Handle",
    "Interrupted",
    "Job",
    "LogFields",
    "Message",
    "Moment",
    "Observer",
    "Publish",
    "QueueHandle",
    "Reject",
    "Rejected",
    "Retries",
    "Retry",
    "Snooze",
    "SyncJob",
    "Task",
    "TasukiError",
    "Unknown",
    "__version__",
    "interrupted_as",
]

_HOME = {
    "App": "tasuki.app",
    "Confirmed": "tasuki.queues.result",
    "Context": "tasuki.contracts.handler",
    "Envelope": "tasuki.queues.queue",
    "Handle": "tasuki.consumers.surroundings",
    "Interrupted": "tasuki.contracts.handler",
    "Job": "tasuki.app.jobs",
    "LogFields": "tasuki.observe.log",
    "Message": "tasuki.message",
    "Moment": "tasuki.contracts.observer",
    "Observer": "tasuki.contracts.observer",
    "Publish": "tasuki.queues.middleware",
    "QueueHandle": "tasuki.app.handle",
    "Reject": "tasuki.contracts.handler",
    "Rejected": "tasuki.queues.result",
    "Retries": "tasuki.contracts.context",
    "Retry": "tasuki.contracts.handler",
    "Snooze": "tasuki.contracts.handler",
    "SyncJob": "tasuki.app.jobs",
    "Task": "tasuki.app.tasks",
    "TasukiError": "tasuki.errors",
    "Unknown": "tasuki.queues.result",
    "interrupted_as": "tasuki.handlers.threads",
}

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
