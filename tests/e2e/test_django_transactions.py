"""Django: a task whose rows, messages and ack are one transaction."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.django_shop import Shop

pytestmark = pytest.mark.e2e

TASKS = """
from django.utils import timezone

from orders.models import Order
from tasuki import Context, Retries
from tasuki.contrib.django import atomic, queue

receipts = queue("receipts", dead_letter="receipts.dead")
after = queue("after")

@receipts.task(retry=Retries(5, backoff="10ms"))
def send_receipt(context: Context, order_id: int) -> None:
    with atomic(context):
        Order.objects.filter(pk=order_id).update(receipt_sent_at=timezone.now())
        note.send(order_id)
        if context.attempt == 1:
            raise ValueError("not yet")

@after.task
def note(order_id: int) -> None:
    Order.objects.create(email="noted")
"""


def test_rows_messages_and_the_ack(postgres_shop: Shop, database: psycopg.Connection) -> None:
    (postgres_shop.folder / "orders" / "tasks.py").write_text(TASKS)
    assert postgres_shop.post("ada@example.com") == ["202"]
    postgres_shop.manage("tasuki", "--until-empty")
    orders = database.execute("SELECT email, receipt_sent_at IS NOT NULL FROM orders_order ORDER BY 1").fetchall()
    assert orders == [("ada@example.com", True), ("noted", False)]
