import itertools
import multiprocessing
import os
import threading
import time
import uuid
from collections.abc import Callable

import pytest

from tasuki import message
from tasuki.message import Message, is_reserved, new_id


def test_reserved_headers() -> None:
    assert all(is_reserved(name) for name in ("attempts", "x_expires_at", "x_anything"))
    assert not any(is_reserved(name) for name in ("timestamp", "priority", "attempt", "xy", ""))


def test_a_message() -> None:
    assert Message("1", b"x", {"a": 1}) == Message("1", b"x", {"a": 1})


def test_an_id_is_a_uuid_of_version_7_with_the_time() -> None:
    before = time.time_ns() // 1_000_000
    parsed = uuid.UUID(new_id())
    after = time.time_ns() // 1_000_000
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert before <= parsed.int >> 80 <= after
    assert len(new_id()) == 36


def test_ids_are_written_as_uuids_are() -> None:
    id = new_id()
    assert str(uuid.UUID(id)) == id


def test_ids_rise_but_for_the_wrap_of_the_counter() -> None:
    ids = [new_id() for _ in range(4096)]
    drops = sum(later < earlier for earlier, later in itertools.pairwise(ids))
    assert drops <= 1


def test_the_random_part_is_drawn_anew_at_each_wrap() -> None:
    assert len({new_id()[19:] for _ in range(3 * 4096)}) >= 3


def test_ids_are_unique_over_threads() -> None:
    found: list[list[str]] = []

    def make() -> None:
        found.append([new_id() for _ in range(20_000)])

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = [id for each in found for id in each]
    assert len(set(ids)) == len(ids) == 160_000


def _make_in_child(connection: object, make: Callable[[], str]) -> None:
    connection.send([make() for _ in range(1000)])  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_ids_are_unique_over_forks() -> None:
    new_id()
    context = multiprocessing.get_context("fork")
    found = []
    for _ in range(4):
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=_make_in_child, args=(sender, new_id))
        child.start()
        found.append(receiver.recv())
        child.join()
        receiver.close()
        sender.close()
    found.append([new_id() for _ in range(1000)])
    assert len({id for each in found for id in each}) == 5000
    assert len({id[19:] for each in found for id in each}) >= 5


def test_the_child_of_a_fork_draws_another_random_part() -> None:
    first = new_id()[19:]
    message._reseed()
    assert new_id()[19:] != first
