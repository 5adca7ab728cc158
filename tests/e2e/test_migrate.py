"""A Django project of Celery, rewritten: its command checks it, and its tasks run in a process with its settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tasuki.cli.migrate.plan import plan
from tests.support.process import environ
from tests.unit.cli.migrate.projects import write

PROJECT = {
    "manage.py": '''\
import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
execute_from_command_line(sys.argv)
''',
    "shop/__init__.py": 'from .celery import app as celery_app\n\n__all__ = ("celery_app",)\n',
    "shop/celery.py": '''\
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
''',
    "shop/settings.py": '''\
from celery.schedules import crontab

SECRET_KEY = "x"
USE_TZ = True
TIME_ZONE = "Asia/Tokyo"
INSTALLED_APPS = ["orders"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CELERY_BROKER_URL = "sqlite:///queue.db"
CELERY_BEAT_SCHEDULE = {
    "report": {"task": "orders.tasks.report", "schedule": crontab(hour=9, minute=0), "args": ("daily",)},
}
''',
    "orders/__init__.py": "",
    "orders/tasks.py": '''\
from celery import shared_task
from django.db import transaction


@shared_task
def report(kind):
    print("report", kind, flush=True)


@shared_task(bind=True, autoretry_for=(OSError,), max_retries=2)
def receipt(self, number: int):
    print("receipt", number, self.request.retries, flush=True)


def order(number):
    with transaction.atomic():
        receipt.delay(number)
        transaction.on_commit(lambda: report.apply_async(args=["extra"], countdown=1))
''',
}  # fmt: skip
RUN = """
import django
django.setup()
from orders.tasks import order
order(7)
"""


@pytest.mark.e2e
def test_a_project_of_django(tmp_path: Path) -> None:
    made = plan("celery", write(tmp_path, PROJECT))
    made.write()
    assert made.by_hand == []
    texts = [path.read_text() for path in tmp_path.rglob("*.py")]
    assert [text for text in texts if "elery" in text.replace("As in Celery", "")] == []

    environment = {**environ(), "DJANGO_SETTINGS_MODULE": "shop.settings"}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("manage.py", "check", "--fail-level", "WARNING")
    run("-c", RUN)
    lines = run("manage.py", "tasuki", "run", "--until-empty").splitlines()
    assert sorted(line for line in lines if line.startswith("re")) == ["receipt 7 0", "report extra"]
    assert "report.schedule" in run("manage.py", "tasuki", "schedules")
