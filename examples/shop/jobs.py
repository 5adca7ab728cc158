"""Photo orders: each one is priced and printed."""

import os
import time
from dataclasses import dataclass
from logging import Logger

from tasuki import App, Reject

app = App(os.environ.get("QUEUE_URL", "sqlite://"))
PRICES = {"A6": 20, "A5": 50, "A4": 90}  # cents


@dataclass
class Order:
    photo: str
    size: str = "A6"
    copies: int = 1


orders = app.queue("orders", Order, dead_letter={"queue": "orders.dead", "max_attempts": 3})


def send_to_printer(photo: str, copies: int) -> None:
    """Stands for a printer, which takes its time."""
    time.sleep(0.1)
    with open("printed.txt", "a") as paper:
        paper.write(f"{copies} x {photo}\n")


@orders.consumer(concurrency=4)  # a plain def runs in a thread: four at a time
def handle(order: Order, logger: Logger) -> None:
    if order.copies < 1:
        raise Reject(f"{order.copies} copies cannot be printed")
    price = order.copies * PRICES[order.size]
    send_to_printer(order.photo, order.copies)
    logger.info("printed %s, %s, for %d cents", order.photo, order.size, price)
