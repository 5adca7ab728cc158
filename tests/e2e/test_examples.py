"""The examples do what they say."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.e2e.projects import DEADLINE, write
from tests.support.process import run

EXAMPLES = Path(__file__).parents[2] / "examples"


def python(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.e2e
def test_seed(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "seed", tmp_path / "seed")
    tested = run("test", "-p", "seed", folder=tmp_path)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "1 test passed" in tested.stdout


@pytest.mark.e2e
def test_seed_on_disk_by_one_override(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "seed", tmp_path / "seed")
    override = ("-o", "app.queue:memory_driver:kind=queue.driver.sqlite")
    called = run("call", "app.queue:publish_task", "[1, 2]", "-p", "seed", *override, folder=tmp_path)
    assert called.returncode == 0, called.stderr
    ran = run("run", "seed", "--until-empty", *override, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "task-123" in ran.stderr


@pytest.mark.e2e
def test_survey(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "survey", tmp_path / "survey", ignore=shutil.ignore_patterns(".tasuki"))
    write(
        tmp_path / "sources",
        {
            "one.py": "import os\n\nclass A:\n    def f(self): pass\n",
            "two/three.py": "import os, sys.path\n\nif True:\n    async def g():\n        from ast import parse\n",
            "two/print.py": "print 'old'\n",
            "site-packages/installed.py": "import json\n",
        },
    )
    done = python("demo.py", tmp_path / "sources", cwd=tmp_path / "survey")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Surveying 4 source files")
    assert lines[1] == "4 paths parsed in Python, 2 findings kept in Lua: 6 messages in"
    assert "Found 9 lines, 2 functions, 1 classes." in lines
    assert any(re.fullmatch(r" +three +5 +os +2", line) for line in lines)
    assert any("2 files failed three times" in line for line in lines)
    assert any(re.fullmatch(r" +1  SyntaxError: Missing parentheses in call to 'print'.*", line) for line in lines)
    assert any(line.startswith("The same report, to the last count, in ") for line in lines)


@pytest.mark.e2e
def test_script_that_works(tmp_path: Path) -> None:
    done = python(EXAMPLES / "script" / "squares.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["1 squared is 1", "2 squared is 4", "3 squared is 9"]
    imported = python("-c", "import squares", cwd=EXAMPLES / "script")
    assert (imported.returncode, imported.stdout) == (0, "")  # as `tasuki run squares:app` imports it


@pytest.mark.e2e
def test_script_that_publishes(tmp_path: Path) -> None:
    script = shutil.copytree(EXAMPLES / "script", tmp_path / "script") / "publish.py"
    done = python(script, "4", "5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "2 messages wait"
    assert python(script, "6", cwd=script.parent).stdout.endswith("3 messages wait\n")  # wherever it is started


@pytest.mark.anyio
async def test_web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(shutil.copytree(EXAMPLES / "web", tmp_path / "web")))
    monkeypatch.delitem(sys.modules, "signup", raising=False)
    web = importlib.import_module("signup").web

    # An ASGI server runs the lifespan; httpx does not.
    async with (
        web.router.lifespan_context(web),
        httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://test") as client,
    ):
        answer = await client.post("/sign-up", json={"email": "ada@example.org"})
        assert answer.status_code == 202
        assert answer.json()["survives"] == "power"
        async with asyncio.timeout(DEADLINE):
            while not (status := (await client.get("/status")).json())["sent"] or status["queue"]["message_count"]:
                await asyncio.sleep(0.01)
        assert status["sent"] == ["ada@example.org"]
