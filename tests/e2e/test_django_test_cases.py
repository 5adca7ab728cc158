"""Tests of a Django project: a TestCase, whose transaction no other connection sees, and handlers in its thread."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.django_shop import Shop

pytestmark = pytest.mark.e2e

TASKS = """
from django.db import transaction

from orders.models import Order
from tasuki.contrib.django import queue

receipts = queue("receipts", dead_letter={"queue": "receipts.dead", "max_attempts": 1})


@receipts.task
def send_receipt(order_id: int) -> None:
    Order.objects.get_or_create(pk=order_id, defaults={"email": "made by the handler"})
    with transaction.atomic():
        note.send(order_id)
    note.send(-order_id)


@receipts.task
def note(number: int) -> None:
    Order.objects.create(email=f"note {number}")


@receipts.task
def carry_on() -> None:
    transaction.on_commit(lambda: 1 / 0, robust=True)
    transaction.on_commit(lambda: note.send(7))


@receipts.task
def fail_late(number: int) -> None:
    with transaction.atomic():
        note.send(number)
        raise ValueError("rolled back")
"""

TESTS = """
import threading
from unittest.mock import patch

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from orders.models import Order
from orders.tasks import carry_on, fail_late, note, send_receipt
from tasuki.testing import NotSettled, TestApp


class Inline(TestCase):
    def test_handlers_see_the_transaction_of_the_test(self) -> None:
        order = Order.objects.create(email="ada@example.com")
        with TestApp("tasuki.contrib.django:app", inline=True) as t:
            send_receipt.send(order.pk)
            with CaptureQueriesContext(connection) as queries:
                run = t.sync.drain()
        self.assertEqual((run.done, run.dead), (3, 0))
        self.assertGreater(len(queries), 2)
        notes = sorted(Order.objects.filter(email__startswith="note").values_list("email", flat=True))
        self.assertEqual(notes, sorted([f"note {order.pk}", f"note {-order.pk}"]))

    def test_a_rollback_in_a_handler_drops_its_messages(self) -> None:
        with TestApp("tasuki.contrib.django:app", inline=True) as t:
            fail_late.send(1)
            self.assertEqual(t.sync.drain().dead, 1)
            self.assertEqual(t.waiting("receipts"), [])

    def test_a_robust_function_of_on_commit_fails_no_handler(self) -> None:
        with TestApp("tasuki.contrib.django:app", inline=True) as t, self.assertLogs("tasuki.django", "ERROR"):
            carry_on.send()
            self.assertEqual(t.sync.drain().done, 2)

    def test_patches_of_the_test_hold(self) -> None:
        seen = []
        with TestApp("tasuki.contrib.django:app", inline=True) as t, patch(
            "orders.models.Order.objects.create", lambda **named: seen.append(threading.get_ident())
        ):
            note.send(1)
            t.sync.drain()
        self.assertEqual(seen, [threading.get_ident()])
"""

HANGS = """

class Hangs(TestCase):
    def test_a_drain_says_what_it_waits_for(self) -> None:
        order = Order.objects.create(email="ada@example.com")
        with TestApp("tasuki.contrib.django:app", patience="2s") as t:
            send_receipt.send(order.pk)
            with self.assertRaisesMessage(NotSettled, "handler app:receipts.task.send_receipt, attempt 1"):
                t.sync.drain()
"""


def prepare(shop: Shop, tests: str) -> None:
    (shop.folder / "orders" / "tasks.py").write_text(TASKS)
    (shop.folder / "orders" / "tests.py").write_text(tests)


def test_handlers_of_an_inline_twin_are_in_the_transaction_of_a_test_case(shop: Shop) -> None:
    prepare(shop, TESTS)
    done = shop.run("test")
    assert done.returncode == 0, done.stderr
    assert "Ran 4 tests" in done.stderr


def test_on_postgresql_a_handler_that_waits_for_the_test_is_named_or_is_inline(
    postgres_shop: Shop, database: psycopg.Connection
) -> None:
    prepare(postgres_shop, TESTS + HANGS)
    done = postgres_shop.run("test")
    assert done.returncode == 0, done.stderr
    assert "Ran 5 tests" in done.stderr
