"""Keys in a store are short enough for every store, and two things have two keys."""

from __future__ import annotations

from tasuki.state.records import limit_key, part_of


def test_an_id_is_in_its_key_as_it_is_unless_no_store_would_take_it() -> None:
    assert part_of("order-7") == "order-7"
    for id in ("a\nb", "x" * 201, "\ud800"):
        assert part_of(id).startswith("sha256 ")


def test_a_limit_is_of_a_queue_of_a_driver() -> None:
    assert limit_key("app:rabbit", "mails") == "limit/app:rabbit/mails"
    assert limit_key("app:nats", "mails") != limit_key("app:rabbit", "mails")
    assert len(limit_key("x" * 500, "q" * 255).encode()) < 512
