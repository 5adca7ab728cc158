"""Which deliveries are open."""

from __future__ import annotations

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.sqs.envelope import Envelope
from tasuki.drivers.sqs.source import Held, Source


def held(id: str = "m", *, until: float = 30.0, url: str = "u") -> Held:
    return Held(url, f"handle-{id}", id, "secret body", {}, Envelope(id), None, 1, 0.0, until)


def source() -> Source:
    return Source(QueueSpec("q"), "u", is_fifo=False)


def test_a_delivery_is_open_until_it_is_taken() -> None:
    queue, delivery = source(), held()
    queue.add(delivery, 0.0)
    assert queue.find(delivery, 1.0) is queue.take(delivery, 1.0) is delivery
    assert queue.find(delivery, 1.0) is queue.take(delivery, 1.0) is None


def test_a_delivery_ends_with_its_lease_and_with_the_next_of_the_same_message() -> None:
    queue, first, second = source(), held(), held()
    queue.add(first, 0.0)
    assert queue.find(first, 30.0) is None
    assert queue.find(first, 29.0) is first
    queue.add(second, 20.0)
    assert queue.find(first, 20.0) is None
    assert queue.find(second, 20.0) is second


def test_what_was_settled_already_is_given_once_more_whatever_its_lease() -> None:
    queue, delivery = source(), held()
    queue.add(delivery, 0.0)
    taken = queue.take(delivery, 1.0)
    assert taken is delivery
    delivery.is_settled = True
    queue.put_back(delivery)
    assert queue.take_all() == []
    queue.put_back(delivery)
    assert queue.take(delivery, 99.0) is delivery
    assert queue.take(delivery, 99.0) is None


def test_what_came_again_meanwhile_is_not_put_back() -> None:
    queue, first, second = source(), held(), held()
    queue.add(first, 0.0)
    queue.take(first, 1.0)
    queue.add(second, 2.0)
    queue.put_back(first)
    assert queue.find(first, 3.0) is None
    assert queue.find(second, 3.0) is second


def test_receipts_of_other_queues_and_other_things_are_not_found() -> None:
    queue = source()
    for receipt in (held(url="other"), 1, "handle-m", None):
        assert queue.find(receipt, 0.0) is None


def test_no_receipt_is_good_after_all_were_taken() -> None:
    queue, first, second = source(), held("a"), held("b")
    for delivery in (first, second):
        queue.add(delivery, 0.0)
    queue.take(second, 0.0)
    assert queue.take_all() == [first]
    assert queue.find(first, 0.0) is None


def test_unsettled_deliveries_do_not_pile_up() -> None:
    queue = source()
    deliveries = [held(f"{number}", until=number + 100.0) for number in range(5000)]
    for number, delivery in enumerate(deliveries):
        queue.add(delivery, float(number))
    assert len(queue._open) < 1500
    assert {delivery.message_id for delivery in deliveries[-100:]} <= set(queue._open)


def test_a_receipt_does_not_show_its_message() -> None:
    assert "secret" not in repr(held())
