"""A small YAML project that a test changes and loads again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasuki import App

DONE: list[Any] = []
"""The messages that the project's handler has handled, as (version, body)."""

TASKS = """
import asyncio
from tests.unit.app.project import DONE

async def handle(body):
    if body == "slow":
        await asyncio.sleep(5)
    DONE.append(("{version}", body))
"""

SECOND = "{name: second, kind: queue.consumer, queue: dead, func: handle, lifecycle: {auto_start: true}}"
"""One more consumer."""


class Yaml:
    """The project's files; the attributes are the parts that change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.driver = "{name: driver, kind: queue.driver.memory}"
        self.dead = ""
        self.queue = "dead_letter: dead, retry: {initial_delay: 1s, max_delay: 1s, jitter: 0}"
        self.more = ""
        DONE.clear()
        self.version("v1")

    def version(self, name: str) -> None:
        """Write the handler's source in this version."""
        self.source(TASKS.replace("{version}", name))

    def source(self, text: str) -> None:
        (self.folder / "tasks.py").write_text(text)

    def write(self) -> None:
        entries = [
            self.driver,
            f"{{name: dead, kind: queue.queue, driver: driver, {self.dead}}}",
            f"{{name: tasks, kind: queue.queue, driver: driver, {self.queue}}}",
            "{name: handle, kind: function.python, source: 'file://tasks.py', method: handle}",
            SECOND.replace("second", "consumer").replace("dead", "tasks"),
            self.more,
        ]
        lines = ["version: '1.0'", "namespace: app", "entries:", *(f"  - {entry}" for entry in entries if entry)]
        (self.folder / "_index.yaml").write_text("\n".join(lines))


async def reload(app: App, yaml: Yaml) -> Any:
    yaml.write()
    return await app.reload()


def live(app: App) -> Any:
    assert app._runtime.assembly is not None
    return app._runtime.assembly
