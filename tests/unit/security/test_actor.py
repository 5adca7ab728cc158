"""Actors as plain data, which code and scripts give."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.errors import HandlerError
from tasuki.security.actor import Actor, read_actor


def test_an_actor_of_plain_data() -> None:
    assert read_actor({"id": "me"}) == Actor("me", {})
    assert read_actor({"id": "me", "meta": None}) == Actor("me", {})
    assert read_actor({"id": "me", "meta": {"team": "blue"}, "more": 1}) == Actor("me", {"team": "blue"})


@pytest.mark.parametrize(
    "value",
    [
        {}, {"id": None}, {"id": 1}, {"id": b"me"}, {"id": ["me"]}, "me", ["me"], 5, Actor("me"),
        {"id": "me", "meta": "blue"}, {"id": "me", "meta": ["team"]}, {"id": "me", "meta": {1: "blue"}},
    ],
)  # fmt: skip
def test_anything_else_is_invalid(value: Any) -> None:
    with pytest.raises(HandlerError) as caught:
        read_actor(value)
    assert (caught.value.kind, caught.value.retryable) == ("Invalid", False)
