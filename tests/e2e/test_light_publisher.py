"""A publisher imports only what it uses: modules of ours, counted in a child process (ADR 71)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_COUNT = """
print(sum(name.partition(".")[0] == "tasuki" for name in sys.modules))
"""

_IMPORT = """
import sys
from tasuki import App
"""

_PUBLISH = """
import asyncio, sys
from pathlib import Path
from tasuki import App

app = App("sqlite:///" + str(Path.cwd() / "jobs.db"))
jobs = app.queue("jobs")

async def main():
    async with app:
        await jobs.publish({"size": 1})

asyncio.run(main())
"""

_COMMAND = """
import sys
from tasuki.cli import main

assert main(["publish", "jobs", "{}"]) == 0
"""

_PROJECT = """
version: "1.0"
namespace: app
entries:
  - name: disk
    kind: queue.driver.sqlite
    path: jobs.db
  - name: jobs
    kind: queue.queue
    driver: disk
"""


@pytest.mark.parametrize(
    ("code", "most"),
    [
        pytest.param(_IMPORT, 86, id="from tasuki import App"),
        pytest.param(_PUBLISH, 179, id="a first publish in code"),
        pytest.param(_COMMAND, 188, id="tasuki publish"),
    ],
)
def test_a_publisher_imports_only_what_it_uses(tmp_path: Path, code: str, most: int) -> None:
    (tmp_path / "_index.yaml").write_text(_PROJECT)
    done = subprocess.run(
        [sys.executable, "-c", code + _COUNT], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    assert int(done.stdout.split()[-1]) <= most
