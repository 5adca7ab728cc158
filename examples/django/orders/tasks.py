"""The queues of this Django app; Tasuki imports each tasks.py of INSTALLED_APPS."""

from logging import Logger

from django.utils import timezone

from orders.models import Order
from tasuki import Retries
from tasuki.contrib.django import queue

receipts = queue("receipts", dead_letter="receipts.dead")
receipts.task_consumer(concurrency=4)


@receipts.task(retry=Retries(5, backoff="1s"))
def send_receipt(logger: Logger, order_id: int) -> None:
    """Runs in a worker, in its own thread, with a database connection that works."""
    order = Order.objects.get(pk=order_id)
    logger.info("receipt for %s", order.email)  # your mail server comes here
    order.receipt_sent_at = timezone.now()
    order.save(update_fields=["receipt_sent_at"])
