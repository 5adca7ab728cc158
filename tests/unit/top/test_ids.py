"""Ids in few cells."""

from __future__ import annotations

from tasuki.top.frame.amounts import short_id


def test_an_id_of_ours_is_known_by_its_middle() -> None:
    assert short_id("01a224a9-9fc2-72cc-bafe-ab643ff8fc58") == "9fc2-72cc"
    assert short_id("invoice-7\x1b") == "invoice-7\\x1b"
