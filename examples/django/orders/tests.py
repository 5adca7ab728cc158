"""Run them with: python manage.py test. No broker and no worker is needed."""

import logging

from django.test import TestCase, TransactionTestCase

from orders.models import Order
from orders.tasks import receipts, send_receipt
from tasuki.testing import TestApp

APP = "tasuki.contrib.django:app"
JSON = "application/json"


class Publishing(TestCase):
    """A TestCase is one transaction, which never commits: capture what its commit would do."""

    def test_an_order_sends_its_receipt(self) -> None:
        with TestApp(APP) as t:
            with self.captureOnCommitCallbacks(execute=True):
                answer = self.client.post("/orders", {"email": "ada@example.com"}, content_type=JSON)
            self.assertEqual(answer.status_code, 202)
            self.assertEqual(t.published(receipts), [{"order_id": answer.json()["id"]}])

    def test_the_task_itself_is_a_function(self) -> None:
        order = Order.objects.create(email="ada@example.com")
        with self.assertLogs("orders") as logs:
            send_receipt(logging.getLogger("orders"), order.pk)
        self.assertIn("receipt for ada@example.com", logs.output[0])


class WholeWay(TransactionTestCase):
    """Workers use their own connections, so they see committed rows only."""

    def test_the_worker_marks_the_order(self) -> None:
        with TestApp(APP) as t:
            answer = self.client.post("/orders", {"email": "ada@example.com"}, content_type=JSON)
            self.assertEqual(t.sync.drain().done, 1)
            status = self.client.get(f"/orders/{answer.json()['id']}")
            self.assertEqual(status.json(), {"email": "ada@example.com", "is_sent": True})
