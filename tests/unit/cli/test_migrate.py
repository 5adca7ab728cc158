"""``tasuki migrate``: what it prints and how it exits; what it rewrites is in ``tests/unit/cli/migrate``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.unit.cli.conftest import CommandLine
from tests.unit.cli.migrate.projects import CELERY, RQ, read, write

WHOLE = {name: text.replace("clock: celery -A shop.celery_app beat\n", "") for name, text in CELERY.items()}


def test_the_verdict_comes_first(tasuki: CommandLine, tmp_path: Path) -> None:
    slow = "@app.task(rate_limit='1/m')\ndef slow():\n    slow.delay()\n    slow.s()\n"
    write(tmp_path, {**CELERY, "shop/slow.py": f"from shop.celery_app import app\n{slow}"})
    done = tasuki("migrate", "celery", ".")

    assert done.returncode == 1, "places have to be changed by hand"
    lines = done.stdout.splitlines()
    assert lines[0] == "4 of 5 tasks move as they are; 1 stays on Celery until you change the places by hand"
    assert lines[2] == "Change by hand: 4 places"
    assert "  shop/slow.py:2:22: slow: the option rate_limit='1/m'" in lines
    assert (
        "      write: give the task a queue of its own: app.queue('mails', limit='10/m'), which counts over all workers"
        in lines
    )
    assert "  1. install tasuki with the client of your broker, as in pip install 'tasuki[redis]'" in lines
    assert lines[-1] == "Nothing is changed yet: --patch prints the changes, --write makes them."


def test_a_project_that_moves_whole_exits_with_0(tasuki: CommandLine, tmp_path: Path) -> None:
    done = tasuki("migrate", "celery", str(write(tmp_path, WHOLE)), "--write")

    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("4 of 4 tasks move as they are\n\nRewritten: ")
    assert tasuki("check", "shop.tasuki_worker:app").returncode == 0


def test_the_patch_is_what_write_does(tasuki: CommandLine, tmp_path: Path) -> None:
    patched, written = write(tmp_path / "patched", WHOLE), write(tmp_path / "written", WHOLE)
    patch = tasuki("migrate", "celery", str(patched), "--patch").stdout
    assert tasuki("migrate", "celery", str(written), "--write").returncode == 0
    subprocess.run(["git", "apply", "-"], cwd=patched, input=patch.encode(), check=True)

    assert read(patched) == read(written)


def test_the_document(tasuki: CommandLine, tmp_path: Path) -> None:
    done = tasuki("migrate", "rq", str(write(tmp_path, RQ)), "--json")
    document = json.loads(done.stdout)

    assert document["verdict"] == "2 of 2 tasks move as they are"
    assert document["tasks"][0] == {
        "name": "resize",
        "file": "app/jobs.py",
        "line": 4,
        "queue": "default",
        "moves": True,
    }
    assert {"file": "app/web.py", "line": 11, "column": 11, "state": "rewritten", "what": "resize.send(…)", "write": "",
            "task": "resize"} in document["places"]  # fmt: skip
    assert document["patch"].startswith("--- a/Procfile\n")
    assert document["steps"][-1].startswith("let RQ's workers run until its queues are empty")


def test_one_task_of_two_moves(tasuki: CommandLine, tmp_path: Path) -> None:
    tasks = "from celery import shared_task\n@shared_task\ndef a(): ...\n@shared_task(rate_limit='1/m')\ndef b(): ...\n"
    done = tasuki("migrate", "celery", str(write(tmp_path, {"tasks.py": tasks})))

    assert done.stdout.startswith(
        "1 of 2 tasks moves as it is; 1 stays on Celery until you change the places by hand\n"
    )


def test_a_folder_without_tasks(tasuki: CommandLine, tmp_path: Path) -> None:
    done = tasuki("migrate", "celery", str(write(tmp_path, {"a.py": "x = 1\n"})))

    assert (done.returncode, done.stdout) == (0, "found no task of Celery\n")


def test_a_library_that_it_does_not_know(tasuki: CommandLine, tmp_path: Path) -> None:
    done = tasuki("migrate", "huey", str(tmp_path))

    assert done.returncode == 2
    assert "'huey' is not one of 'celery', 'rq'" in done.stderr
