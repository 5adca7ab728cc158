"""The project whose store is kept: what an earlier version has put into it, and this one has to find there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.cli_project import NOTE

FILES = {
    "_index.yaml": """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory, lifecycle: {auto_start: true}}
  - {name: plain, kind: queue.queue, driver: driver}
  - {name: keyed, kind: queue.queue, driver: driver, ordering: key}
  - {name: paused, kind: queue.queue, driver: driver}
  - {name: handle, kind: function.python, source: file://handlers.py, method: handle}
  - {name: on_plain, kind: queue.consumer, queue: plain, func: handle, lifecycle: {auto_start: true}}
  - {name: on_keyed, kind: queue.consumer, queue: keyed, func: handle, lifecycle: {auto_start: true}}
  - {name: on_paused, kind: queue.consumer, queue: paused, func: handle, lifecycle: {auto_start: true}}
""",
    "handlers.py": NOTE
    + """
from tasuki import Context

def handle(body, context: Context):
    note(f"{context.queue} {body}")
""",
}
COMMANDS: Sequence[Sequence[str]] = (
    *(("publish", "plain", str(number)) for number in range(3)),
    *(("publish", "keyed", str(number), "--key", "k") for number in range(3)),
    ("publish", "plain", "3", "--delay", "1ms"),
    ("publish", "plain", "4", "--header", "kind=é"),
    ("publish", "paused", "0"),
    ("pause", "paused"),
)
"""Commands that the earlier version ran."""
HELD = {
    "app:plain": [0, 1, 2, 3, 4],
    "app:keyed": [0, 1, 2],
    "app:paused": [0],
}
"""The bodies of each queue."""


def write(folder: Path) -> Path:
    """Make the project."""
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def overrides(kind: str, **fields: Any) -> list[str]:
    """Options that bring the project onto a driver."""
    values = {"kind": f"queue.driver.{kind}", **fields}
    return [word for field, value in values.items() for word in ("-o", f"app:driver:{field}={value}")]
