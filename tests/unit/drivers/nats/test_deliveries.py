from typing import Any

import pytest

from tasuki.drivers.nats.receiving.deliveries import Held, Table
from tasuki.drivers.nats.records.side_records import Note


def held(receipt: str, sequence: int = 1, since: float = 0.0) -> Held:
    return Held(receipt, "m", sequence, 1, since)


def test_a_delivery_is_ours_until_its_lease_ends() -> None:
    table = Table(10.0)
    table.add(ours := held("a"))
    assert table.find("a") is ours
    assert not table.is_over(ours, 9.9)
    assert table.is_over(ours, 10.0)


@pytest.mark.parametrize("receipt", ["b", 1, None, ("a",)])
def test_what_is_not_ours_is_not_found(receipt: int | str | tuple[str] | None) -> None:
    table = Table(10.0)
    table.add(held("a"))
    assert table.find(receipt) is None


def test_a_new_delivery_of_a_message_ends_the_old_one() -> None:
    table = Table(10.0)
    table.add(held("old"))
    table.add(held("new", since=1.0))
    assert table.find("old") is None
    assert table.find("new") is not None
    assert len(table) == 1


def test_removing_the_old_one_leaves_the_new_one() -> None:
    table = Table(10.0)
    old = held("old")
    table.add(old)
    table.add(held("new"))
    table.remove(old)
    table.add(held("newest"))
    assert table.find("new") is None
    assert [each.receipt for each in table.living(0.0)] == ["newest"]


def test_a_changed_lease_holds_for_all_as_at_the_server() -> None:
    table = Table(10.0)
    table.add(ours := held("a"))
    table.lease = 30.0
    assert not table.is_over(ours, 25.0)


def test_unsettled_deliveries_are_forgotten_in_time() -> None:
    table = Table(1.0)
    for number in range(5000):
        table.add(held(f"r{number}", number, since=float(number)))
    assert len(table) < 2100
    assert table.find("r4999") is not None


def test_what_the_book_says_of_a_delivery_that_ends() -> None:
    ours = Held("r", "m", 7, 3, 0.0, failures=1, is_suspect=True)
    assert ours.failed(5.0, None) == (Note(7, "m", 5.0, failures=2, delivered=3, is_suspect=False), "r")
    assert ours.released() == (Note(7, "m", 0.0, failures=1, delivered=3, is_suspect=True), "r")
    # Its delivery is not over, and if nothing more is heard of it, it was a failure.
    assert ours.started() == (Note(7, "m", 0.0, failures=2, delivered=2, is_suspect=True), "r")
    assert ours.left() == ours.released()
    ours.note = Note(7, "m", 4.0, number=50)
    assert [ours.failed(due, None)[0].older for due in (4.0, 5.0)] == [0, 50], "the same subject is written over"
    ours.is_started = True
    assert ours.left() == ours.started()


def sure(receipt: str, sequence: int, at: float) -> Held:
    return Held(receipt, "m", sequence, 1, 0.0, sure_at=at)


def test_doubt_is_about_all_from_before_it() -> None:
    table = Table(10.0)
    table.add(old := sure("old", 1, 1.0))
    assert table.doubtful(0.5) == []
    assert table.doubtful(2.0) == table.doubtful(2.0) == [old]
    old.sure_at = 3.0
    assert table.doubtful(2.0) == []
    table.add(late := sure("late", 2, 1.5))  # it had arrived on the connection before
    assert table.doubtful(2.0) == [late]
    late.sure_at = 3.0
    assert table.doubtful(2.0) == []
    table.doubted_at = 4.0
    assert table.doubtful(2.0) == [old, late]
    late.sure_at = old.sure_at = 4.0
    assert table.doubtful(2.0) == []


def test_a_settlement_without_doubt_costs_the_same_however_many_are_open() -> None:
    class Counted(dict[str, Held]):
        reads = 0

        def values(self) -> Any:
            self.reads += 1
            return super().values()

    table = Table(10.0)
    table._by_receipt = counted = Counted()
    for number in range(100):
        table.add(sure(str(number), number, 5.0))
        assert table.doubtful(2.0) == []
    assert counted.reads <= 1
    table.doubted_at = 6.0
    assert len(table.doubtful(2.0)) == 100
