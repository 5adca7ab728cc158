"""Messages of the project in lua_modules, with its functions in processes and in threads: they are settled the same."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.e2e.test_lua_modules import PROJECT, VERDICTS
from tests.support.process import run, run_json

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

LONG = 120.0
"""Seconds; with a process for each of forty functions, on a machine that is busy with other tests."""


@pytest.fixture(scope="module", params=["isolation: process", "pool: {workers: 2}"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(PROJECT, tmp_path_factory.mktemp("lua") / "modules"))
    index = folder / "_index.yaml"
    text, count = re.subn(r"(kind: function\.lua)(,|\n( *))", rf"\1\2\3{request.param}\2\3", index.read_text())
    assert count > 20
    index.write_text(text)
    return folder


def test_a_message_is_asked_and_settled(project: Path) -> None:
    for verdict in VERDICTS:
        headers = ["trace=t-1", "n=2", "yes=true", "actor=root", "x-actor=root", "security.scope=all"]
        options = [part for header in headers for part in ("--header", header)]
        assert run("publish", "app:deliveries", f'{{"verdict": "{verdict}"}}', *options, folder=project).returncode == 0
    done = run("run", "--until-empty", folder=project, timeout=LONG)
    assert done.returncode == 0, done.stderr
    bodies = [message["body"] for message in run_json("peek", "app:done", folder=project)]
    assert sorted(body["verdict"] for body in bodies) == ["ack", "again", "later", "nack", "reject", "snooze"]
