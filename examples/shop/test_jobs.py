"""The shop when all is well, without its printer, and when a worker is killed."""

import jobs
import pytest
from jobs import Order, app, orders

from tasuki.testing import TestApp


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The photos that the printer has got."""
    photos: list[str] = []
    monkeypatch.setattr(jobs, "send_to_printer", lambda photo, copies: photos.append(photo))
    return photos


def test_an_order_is_printed(tasuki_app: TestApp, printed: list[str]) -> None:
    app.sync.publish(orders, Order("sea.jpg"))
    assert tasuki_app.sync.drain().done == 1
    assert printed == ["sea.jpg"]


def test_an_order_waits_for_the_printer(tasuki_app: TestApp, printed: list[str]) -> None:
    app.sync.publish(orders, Order("sea.jpg"))
    with tasuki_app.patch(jobs, "send_to_printer", ConnectionError("no printer"), times=2):
        assert tasuki_app.sync.drain().failed == 1
        assert tasuki_app.waiting(orders)[0].error == "ConnectionError: no printer"
        tasuki_app.sync.advance("1h")
    assert tasuki_app.settled(orders) == ["nack", "nack", "ack"]


def test_an_order_that_cannot_be_printed_is_a_dead_letter(tasuki_app: TestApp) -> None:
    app.sync.publish(orders, Order("sea.jpg", copies=0))
    tasuki_app.sync.drain()
    assert [(letter.reason, letter.attempts) for letter in tasuki_app.dead] == [("rejected", 1)]


def test_a_killed_worker_loses_no_order(tasuki_app: TestApp, printed: list[str]) -> None:
    tasuki_app.kill_worker()  # after the handler, before its message is acked
    app.sync.publish(orders, Order("sea.jpg"))
    tasuki_app.sync.advance("1m")
    assert printed == ["sea.jpg", "sea.jpg"]  # handled at least once: here twice
