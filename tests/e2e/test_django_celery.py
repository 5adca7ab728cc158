"""A Django project in Celery's shape: its app in the package, tasks under ``@app.task``, a periodic task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasuki.ids import name_for
from tests.support.django_shop import Shop

pytestmark = pytest.mark.e2e

CELERY = """
import os

from tasuki.contrib.django.celery import Celery, crontab

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.autodiscover_tasks(packages=["orders.later"], related_name="moves")


@app.task(bind=True, ignore_result=True)
def debug_task(self):
    print(f"Request: {self.request.id is not None}")


@app.on_after_finalize.connect
def periodic(sender, **kwargs):
    from orders.tasks import count

    sender.add_periodic_task(crontab(minute=30, hour=2), count.s(2), name="nightly count")
"""
TASKS = """
from orders.models import Order
from shop.celery import app


@app.task(queue="reports", bind=True, max_retries=3, retry_kwargs={"countdown": 0.01}, compression="gzip")
def count(self, step):
    if self.request.retries < 1:
        raise self.retry(exc=ValueError("not yet"))
    Order.objects.create(email=f"{step} after {self.request.retries}")


@app.task
def note(email):
    Order.objects.create(email=email)
"""
MOVES = """
from orders.models import Order
from shop.celery import app


@app.task
def move():
    Order.objects.create(email="moved")
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path / "shop")
    (shop.folder / "shop" / "celery.py").write_text(CELERY)
    (shop.folder / "shop" / "__init__.py").write_text("from .celery import app as celery_app\n")
    (shop.folder / "orders" / "tasks.py").write_text(TASKS)
    (later := shop.folder / "orders" / "later").mkdir()
    (later / "__init__.py").write_text("")
    (later / "moves.py").write_text(MOVES)
    (shop.folder / "orders" / "views.py").write_text("def create(request): ...\n")
    (shop.folder / "shop" / "urls.py").write_text("urlpatterns = []\n")
    shop.manage("migrate", "--verbosity", "0")
    return shop


def test_a_project_with_an_app_of_celery_runs_with_a_changed_import(shop: Shop) -> None:
    assert "no issues" in shop.manage("check")
    shop.python(
        "from orders.later.moves import move; from orders.tasks import count, note\n"
        "from shop.celery import debug_task\n"
        "count.delay(2); note.apply_async(args=['ada'], retry=True); move.delay(); debug_task.delay()"
    )
    done = shop.run("tasuki", "--until-empty")
    assert done.returncode == 0, done.stderr
    assert "Request: True" in done.stdout
    assert sorted(shop.sent()) == ["2 after 1", "ada", "moved"]
    (schedule,) = json.loads(shop.manage("tasuki", "schedules", "--json"))
    assert (schedule["schedule"], schedule["queue"]) == (f"app:{name_for('nightly count')}.schedule", "app:reports")
