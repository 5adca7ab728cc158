"""``django.tasks`` (or the package ``django-tasks``) with real workers."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import django
import pytest

from tests.support.django_shop import Shop
from tests.support.process import wait_until

pytestmark = pytest.mark.e2e

MODULE = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
SETTINGS = f"""
INSTALLED_APPS += {[] if MODULE == "django.tasks" else [MODULE]}
FILES = "django.core.cache.backends.filebased.FileBasedCache"
CACHES = {{"default": {{"BACKEND": FILES, "LOCATION": BASE_DIR / "cache"}}}}
TASKS = {{
    "default": {{
        "BACKEND": "tasuki.contrib.django.TasukiBackend",
        "OPTIONS": {{
            "results": "default",
            "queues": {{"default": {{"lease": "1s"}}}},
            "workers": {{"concurrency": 2}},
        }},
    }}
}}
"""
TASKS = f"""
import os, signal
from pathlib import Path
from {MODULE} import task


@task
def add(a, b):
    return a + b


@task
def kill_first(folder):
    try:
        Path(folder, "killed").touch(exist_ok=False)
    except FileExistsError:
        return "survived"
    os.kill(os.getpid(), signal.SIGKILL)


@task
def fail():
    raise ValueError("no")
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path / "shop")
    with (shop.folder / "shop" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (shop.folder / "orders" / "tasks.py").write_text(TASKS)
    (shop.folder / "shop" / "urls.py").write_text("urlpatterns = []\n")
    shop.manage("migrate", "--verbosity", "0")
    return shop


def result(shop: Shop, id: str) -> dict[str, Any]:
    code = (
        f"import json; from {MODULE} import default_task_backend as backend; result = backend.get_result({id!r}); "
        "print(json.dumps({'status': result.status, 'attempts': result.attempts, 'value': result._return_value, "
        "'errors': [error.exception_class_path for error in result.errors]}))"
    )
    return dict(json.loads(shop.python(code)))


def enqueue(shop: Shop, call: str) -> str:
    return shop.python(f"from orders import tasks; print(tasks.{call}.id)").strip()


def test_another_process_runs_them_and_the_first_one_reads_the_results(shop: Shop) -> None:
    added, failed = enqueue(shop, "add.enqueue(1, b=2)"), enqueue(shop, "fail.enqueue()")
    assert result(shop, added)["status"] == "READY"
    shop.manage("tasuki", "--until-empty")
    assert result(shop, added) == {"status": "SUCCESSFUL", "attempts": 1, "value": 3, "errors": []}
    assert result(shop, failed) == {
        "status": "FAILED",
        "attempts": 1,
        "value": None,
        "errors": ["builtins.ValueError"],
    }
    assert json.loads(shop.manage("tasuki", "info", "default.dead", "--json"))["message_count"] == 1


def test_a_killed_worker_loses_no_task(shop: Shop) -> None:
    id = enqueue(shop, f"kill_first.enqueue({str(shop.folder)!r})")
    with shop.worker() as killed:
        assert killed.wait() == 128 + signal.SIGKILL
    assert result(shop, id)["status"] == "RUNNING"
    with shop.worker():
        wait_until(lambda: result(shop, id)["status"] == "SUCCESSFUL", "the task after the kill")
    assert result(shop, id) == {"status": "SUCCESSFUL", "attempts": 2, "value": "survived", "errors": []}
