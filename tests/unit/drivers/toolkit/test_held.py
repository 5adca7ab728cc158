"""The open deliveries of each queue, and the verbs that may still end them."""

from __future__ import annotations

import pytest

from tasuki.drivers.toolkit.known_queues import HeldReceipts, KnownQueues
from tasuki.errors import QueueNotFoundError


@pytest.fixture
def held() -> HeldReceipts[str]:
    return HeldReceipts()


@pytest.fixture
def known() -> KnownQueues[str]:
    return KnownQueues("app:x")


def test_deliveries_are_held_until_they_end(held: HeldReceipts[str]) -> None:
    held.hold("q", "spec", [1, 2])
    held.hold("q", "spec", [3])
    held.hold("other", "its spec", [1])
    assert not held.forget("q", [1, 3])
    assert sorted(held.all()) == [("other", "its spec", [1]), ("q", "spec", [2])]
    assert held.forget("q", [2])
    assert (held.holds("q"), held.holds("other")) == (False, True)


def test_what_is_not_held_can_be_forgotten(held: HeldReceipts[str]) -> None:
    assert held.forget("q", ["stale"])
    held.hold("q", "spec", [1])
    assert not held.forget("q", ["stale"])
    assert held.holds("q")


def test_no_delivery_holds_no_queue(held: HeldReceipts[str]) -> None:
    held.hold("q", "spec", [])
    assert not held.holds("q")
    assert held.all() == []


def test_a_deleted_queue_has_no_deliveries(held: HeldReceipts[str]) -> None:
    held.hold("q", "spec", [1])
    held.forget_queue("q")
    held.forget_queue("q")
    assert held.all() == []


def test_an_undeclared_queue_is_found_while_something_is_held(held: HeldReceipts[str], known: KnownQueues[str]) -> None:
    known.declare("q", "spec")
    held.hold("q", known.get("q"), [1, 2])
    known.forget("q")
    assert held.get("q", known) == "spec"
    held.forget("q", [1])
    assert held.get("q", known) == "spec"
    held.forget("q", [2])
    with pytest.raises(QueueNotFoundError, match="'q' was never declared"):
        held.get("q", known)


def test_the_last_declaration_holds_for_open_deliveries(held: HeldReceipts[str], known: KnownQueues[str]) -> None:
    held.hold("q", "before", [1])
    known.declare("q", "since")
    assert held.get("q", known) == "since"
    held.hold("q", "since", [2])
    known.forget("q")
    assert held.get("q", known) == "since"
