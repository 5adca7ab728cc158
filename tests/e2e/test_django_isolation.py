"""Django in their own processes: settings, models, connections and logs."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.django_shop import Shop
from tests.support.process import wait_until

pytestmark = pytest.mark.e2e

TASKS = """
from tasuki.contrib.django import app, queue

documents = queue("documents", dead_letter={"queue": "documents.dead", "max_attempts": 2})
app.entry("render", "function.python", target="orders.rendering:render", isolation="process", pool={"workers": 1})
app.entry("documents.workers", "queue.consumer", queue="documents", funcs={"render": {"func": "render"}},
          lifecycle={"auto_start": True})
"""

RENDERING = """
import logging
import os

from django.conf import settings
from django.db import connection, transaction

from orders.models import Order


def render(order_id: int, dies: bool = False) -> None:
    if dies and Order.objects.filter(email="tried").exists() is False:
        Order.objects.create(email="tried")
        os.abort()
    with transaction.atomic():
        Order.objects.create(email=f"{order_id} with {settings.ROOT_URLCONF} not in {os.getppid()}")
    logging.getLogger("orders").warning("rendered %s", order_id)
"""

PUBLISH = """
from tasuki.contrib.django import app

for order_id in range(3):
    app.sync.publish("documents", {"order_id": order_id, "dies": order_id == 1}, {"message_type": "render"})
"""


def prepare(shop: Shop) -> None:
    tasks = shop.folder / "orders" / "tasks.py"
    tasks.write_text(tasks.read_text() + TASKS)
    (shop.folder / "orders" / "rendering.py").write_text(RENDERING)
    shop.python(PUBLISH)


def test_a_function_in_a_process_of_its_own_has_django(shop: Shop) -> None:
    prepare(shop)
    done = shop.run("tasuki", "--until-empty", "--log-format", "text")
    assert done.returncode == 0, done.stderr
    orders = sorted(shop.sent())
    assert [order.partition(" not in ")[0] for order in orders] == [
        "0 with shop.urls",
        "1 with shop.urls",
        "2 with shop.urls",
        "tried",
    ]
    assert done.stderr.count("rendered 2") == 1


def test_a_connection_that_the_database_ends_is_opened_again_in_the_child(
    postgres_shop: Shop, database: psycopg.Connection
) -> None:
    def connections() -> list[int]:
        rows = database.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%orders_order%' "
            "AND pid <> pg_backend_pid()"
        )
        return [pid for (pid,) in rows]

    def count() -> int:
        row = database.execute("SELECT count(*) FROM orders_order").fetchone()
        return int(row[0]) if row else 0

    prepare(postgres_shop)
    with postgres_shop.worker() as worker:
        wait_until(lambda: count() == 4, "the orders of the children")
        for pid in connections():
            database.execute("SELECT pg_terminate_backend(%s)", [pid])
        postgres_shop.python(PUBLISH)
        wait_until(lambda: count() == 7, "the orders after that")
        worker.kill()
    assert '"message_count": 0' in postgres_shop.manage("tasuki", "info", "documents.dead", "--json")
