"""The MariaDB driver as a user has it: installed from its folder, found by its entry point, named in a project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.projects import write
from tests.support.brokers.mariadb import MariaDb

EXAMPLE = Path(__file__).parents[2] / "examples" / "mariadb-driver"
PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: broker, kind: queue.driver.mariadb, url: "mariadb://root@127.0.0.1:%d/tasuki", prefix: example}
  - {name: mails, kind: queue.queue, driver: broker, driver_options: {mariadb: {max_length: 2}}}
  - {name: send, kind: function.lua, modules: [logger], source: file://send.lua}
  - {name: worker, kind: queue.consumer, queue: mails, func: send, lifecycle: {auto_start: true}}
"""
SEND = """
local logger = require("logger")
return function(body)
  logger:info("sent to " .. body.to)
end
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mariadb")
    shutil.copytree(EXAMPLE, folder / "source")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", f"{folder}/packages", f"{folder}/source"]
    subprocess.run(command, check=True, timeout=120)
    return folder / "packages"


def tasuki(packages: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    found = os.pathsep.join([str(packages), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "tasuki", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": found, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.e2e
def test_a_project_on_mariadb(packages: Path, tmp_path: Path) -> None:
    write(tmp_path, {"_index.yaml": PROJECT % MariaDb.shared().port, "send.lua": SEND})
    checked = tasuki(packages, tmp_path, "check")
    assert checked.returncode == 0, checked.stderr
    for name in ("ada", "bob"):
        published = tasuki(packages, tmp_path, "publish", "app:mails", f'{{"to": "{name}"}}')
        assert published.returncode == 0, published.stderr
    refused = tasuki(packages, tmp_path, "publish", "app:mails", '{"to": "eve"}')
    assert refused.returncode != 0
    assert "max_length" in refused.stderr
    ran = tasuki(packages, tmp_path, "run", "--until-empty")
    assert ran.returncode == 0, ran.stderr
    assert "sent to ada" in ran.stderr
    assert "sent to bob" in ran.stderr


@pytest.mark.e2e
def test_a_store_of_another_driver_adds_limits_and_unique_windows(packages: Path, tmp_path: Path) -> None:
    """No line of the package is about them: workers and publishers keep both with the store."""
    stored = PROJECT.replace("prefix: example}", "prefix: stored, state: notes}").replace(
        "driver_options: {mariadb: {max_length: 2}}",
        "limit: {rate: 50/s, concurrency: 1}, unique: {key: body.to, for: 1h}",
    )
    stored += "  - {name: file, kind: queue.driver.sqlite}\n  - {name: notes, kind: store.sqlite, driver: file}\n"
    write(tmp_path, {"_index.yaml": stored % MariaDb.shared().port, "send.lua": SEND})
    for name in ("ada", "bob", "ada"):
        published = tasuki(packages, tmp_path, "publish", "app:mails", f'{{"to": "{name}"}}')
        assert published.returncode == 0, published.stderr
    ran = tasuki(packages, tmp_path, "run", "--until-empty")
    assert ran.returncode == 0, ran.stderr
    assert [ran.stderr.count(f"sent to {name}") for name in ("ada", "bob")] == [1, 1]


@pytest.mark.e2e
def test_the_table_of_drivers_has_it(packages: Path, tmp_path: Path) -> None:
    listed = tasuki(packages, tmp_path, "drivers")
    assert listed.returncode == 0, listed.stderr
    assert "mariadb" in listed.stdout.splitlines()[0]


@pytest.mark.e2e
def test_a_mistake_in_its_entry_is_told_at_its_line(packages: Path, tmp_path: Path) -> None:
    write(tmp_path, {"_index.yaml": (PROJECT % 1).replace("/tasuki", ""), "send.lua": SEND})
    checked = tasuki(packages, tmp_path, "check")
    assert checked.returncode != 0
    assert "_index.yaml:5" in checked.stdout + checked.stderr
    assert "names no database" in checked.stdout + checked.stderr
