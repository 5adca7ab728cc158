import pytest

from tasuki.drivers.nats.held import Held, Table


def held(receipt, sequence=1, since=0.0):
    return Held(receipt, "m", sequence, 1, since)


def test_a_delivery_is_ours_until_its_lease_ends():
    table = Table(10.0)
    table.add(held("a"))
    assert table.find("a", 9.9) is not None
    assert table.find("a", 10.0) is None
    assert table.find("a", 9.4, margin=0.05) is not None
    assert table.find("a", 9.6, margin=0.05) is None


@pytest.mark.parametrize("receipt", ["b", 1, None, ("a",)])
def test_what_is_not_ours_is_not_found(receipt):
    table = Table(10.0)
    table.add(held("a"))
    assert table.find(receipt, 0.0) is None


def test_a_new_delivery_of_a_message_ends_the_old_one():
    table = Table(10.0)
    table.add(held("old"))
    table.add(held("new", since=1.0))
    assert table.find("old", 1.0) is None
    assert table.find("new", 1.0) is not None
    assert len(table) == 1


def test_removing_the_old_one_leaves_the_new_one():
    table = Table(10.0)
    old = held("old")
    table.add(old)
    table.add(held("new"))
    table.remove(old)
    table.add(held("newest"))
    assert table.find("new", 0.0) is None
    assert [each.receipt for each in table.living(0.0)] == ["newest"]


def test_a_changed_lease_holds_for_all_as_at_the_server():
    table = Table(10.0)
    table.add(held("a"))
    table.lease = 30.0
    assert table.find("a", 25.0) is not None


def test_what_nobody_settles_is_forgotten_in_time():
    table = Table(1.0)
    for number in range(5000):
        table.add(held(f"r{number}", number, since=float(number)))
    assert len(table) < 2100
    assert table.find("r4999", 4999.5) is not None
