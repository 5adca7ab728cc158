"""A small project on disk for tests of the command line: SQLite, one queue with dead letters, one Python handler."""

from __future__ import annotations

import json
from pathlib import Path

PROJECT = """
version: "1.0"
namespace: app
entries:
  - name: driver
    kind: queue.driver.sqlite
    lifecycle: {auto_start: true}
  - name: tasks
    kind: queue.queue
    driver: driver
    dead_letter: {queue: dead, max_attempts: 3}
    retry: {initial_delay: 10ms, max_delay: 20ms}
  - name: dead
    kind: queue.queue
    driver: driver
  - name: handle
    kind: function.python
    source: file://handlers.py
    method: handle
  - name: consumer
    kind: queue.consumer
    queue: tasks
    func: handle
    concurrency: %(concurrency)s
    prefetch: %(prefetch)s
    lifecycle: {auto_start: true, stop_timeout: %(stop_timeout)s}
"""

NOTE = '''
from pathlib import Path

def note(text):
    """Append a line to a file beside this module, in one write."""
    with open(Path(__file__).with_name("notes.txt"), "a") as file:
        file.write(text + "\\n")
'''


def write_project(
    folder: Path, handler: str, *, concurrency: int = 1, prefetch: int = 10, stop_timeout: str = "10s"
) -> Path:
    """Write the project; ``handler`` is Python that defines ``handle``, and may call ``note(text)``."""
    values = {"concurrency": concurrency, "prefetch": prefetch, "stop_timeout": stop_timeout}
    (folder / "_index.yaml").write_text(PROJECT % values)
    (folder / "handlers.py").write_text(NOTE + handler)
    return folder


def notes(folder: Path) -> list[str]:
    """What the handler has noted so far, whole lines only."""
    path = folder / "notes.txt"
    return path.read_text().splitlines() if path.exists() else []


def lines_of(*bodies: object) -> str:
    """Bodies as the lines of a file."""
    return "".join(json.dumps(body) + "\n" for body in bodies)
