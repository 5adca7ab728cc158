"""MemoryStore, as Python handlers use it."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.errors import HandlerError
from tasuki.handlers.store import MemoryStore
from tasuki.testing.clock import FakeClock


@pytest.fixture
def store(tasuki_clock: FakeClock) -> MemoryStore:
    return MemoryStore("app:s", max_size=3, cleanup_interval=60, clock=tasuki_clock)


def kind_of(call: Any, *args: Any, **options: Any) -> tuple[str, str, bool | None]:
    with pytest.raises(HandlerError) as raised:
        call(*args, **options)
    return raised.value.kind, raised.value.message, raised.value.retryable


def test_values_are_copies(store: MemoryStore) -> None:
    value = {"a": [1]}
    assert store.set("k", value) is True
    value["a"].append(2)
    store.get("k")["a"].append(3)
    store.entry("k")["value"]["a"].append(4)
    assert store.get("k") == {"a": [1]}


def test_entries_expire(store: MemoryStore, tasuki_clock: FakeClock) -> None:
    store.set("k", 1, ttl=5)
    store.set("for ever", 1, ttl=0)
    tasuki_clock.advance(4.9)
    assert store.has("k")
    tasuki_clock.advance(0.1)
    assert not store.has("k")
    assert store.delete("k") is False
    assert kind_of(store.get, "k") == ("NotFound", "key not found", False)
    assert [item["key"] for item in store.list()["items"]] == ["for ever"]
    store.put("k", 2, only_if_absent=True)


def test_expired_keys_make_room_before_full_is_reported(store: MemoryStore, tasuki_clock: FakeClock) -> None:
    for key in "abc":
        store.set(key, 1, ttl=5)
    assert kind_of(store.set, "d", 1) == ("Unavailable", "store is full", True)
    store.set("a", 2)
    tasuki_clock.advance(6)
    store.set("d", 1)
    assert [item["key"] for item in store.list()["items"]] == ["a", "d"]


def test_expired_keys_are_removed_now_and_then(store: MemoryStore, tasuki_clock: FakeClock) -> None:
    store.set("a", 1, ttl=1)
    tasuki_clock.advance(61)
    store.set("b", 1)
    assert list(store._items) == ["b"]


def test_an_expired_key_is_written_anew_when_full(store: MemoryStore, tasuki_clock: FakeClock) -> None:
    store.set("a", 1, ttl=1)
    store.set("b", 1)
    store.set("c", 1)
    tasuki_clock.advance(2)
    store.set("a", 2)
    assert store.get("a") == 2


def test_one_version_counter_for_all_keys(store: MemoryStore) -> None:
    store.set("a", 1)
    assert store.put("b", 1)["version"] == "2"
    assert store.put("a", 2, if_version=1)["version"] == "3"
    assert kind_of(store.put, "a", 3, if_version="1") == ("Conflict", "version mismatch", True)
    assert kind_of(store.put, "x", 1, if_version=1) == ("NotFound", "key not found", False)
    assert kind_of(store.put, "a", 1, only_if_absent=True) == ("AlreadyExists", "key already exists", False)


def test_list_pages(store: MemoryStore) -> None:
    large = MemoryStore("app:l", max_size=0)
    for n in range(1200):
        large.set(f"k{n:04}", n)
    large.set("other", 1)
    first = large.list(prefix="k", limit=2)
    assert ([item["value"] for item in first["items"]], first["cursor"], first["has_more"]) == ([0, 1], "k0001", True)
    assert large.list(prefix="k", after="k0001", limit=1)["items"][0]["value"] == 2
    assert len(large.list(limit=0)["items"]) == 100
    assert len(large.list(limit=5000)["items"]) == 1000
    assert large.list(prefix="none") == {"items": [], "cursor": "", "has_more": False}


@pytest.mark.parametrize(
    ("method", "args", "message"),
    [
        ("get", ("",), "key is required"),
        ("set", (5, 1), "key is required"),
        ("set", ("k", None), "value is required"),
        ("list", (5,), "prefix must be a string"),
        ("list", ("", 5), "after must be a string"),
        ("list", ("", "", -1), "limit must be a non-negative integer"),
        ("list", ("", "", 1.5), "limit must be a non-negative integer"),
        ("list", ("", "", True), "limit must be a non-negative integer"),
        ("put", ("k", 1, -1), "ttl must be a non-negative number"),
        ("put", ("k", 1, "5"), "ttl must be a non-negative number"),
        ("put", ("k", 1, float("nan")), "ttl must be a non-negative number"),
        ("put", ("k", 1, None, "yes"), "only_if_absent must be a boolean"),
        ("put", ("k", 1, None, False, "x"), "if_version must be a positive version"),
        ("put", ("k", 1, None, False, 0), "if_version must be a positive version"),
        ("put", ("k", 1, None, False, 1.5), "if_version must be a positive version"),
        ("put", ("k", 1, None, True, 1), "only_if_absent and if_version are mutually exclusive"),
    ],
)
def test_bad_arguments(store: MemoryStore, method: str, args: tuple[Any, ...], message: str) -> None:
    assert kind_of(getattr(store, method), *args) == ("Invalid", message, False)


def test_info_and_close(store: MemoryStore) -> None:
    assert store.info() == {
        "id": "app:s",
        "backend": "memory",
        "consistency": "local",
        "durable": False,
        "list": True,
        "versioned": True,
        "conditional_put": True,
        "ttl": True,
    }
    store.close()
    store.close()
    for call in (lambda: store.get("k"), lambda: store.set("k", 1), store.list, lambda: store.delete("k")):
        assert kind_of(call) == ("Unavailable", "store is closed", True)


def test_bytes_are_counted(tasuki_clock: FakeClock) -> None:
    store = MemoryStore("app:s", max_bytes=10_000, cleanup_interval=60, clock=tasuki_clock)
    store.set("a", "x" * 5000)
    store.set("b", ["x" * 1000] * 3, ttl=1)
    assert kind_of(store.set, "c", b"x" * 5000) == ("Unavailable", "store is full", True)
    assert kind_of(store.put, "a", {"x" * 9900: 1}) == ("Unavailable", "store is full", True)
    assert len(store.get("a")) == 5000
    store.set("a", "y" * 100)
    store.set("c", "x" * 5000)
    store.delete("c")
    tasuki_clock.advance(2)
    store.set("d", "x" * 9000)


def test_a_text_counts_as_many_bytes_as_python_keeps_it_in(tasuki_clock: FakeClock) -> None:
    store = MemoryStore("app:s", max_bytes=10_000, clock=tasuki_clock)
    assert kind_of(store.set, "a", "\N{PARTY POPPER}" * 2500) == ("Unavailable", "store is full", True)
    store.set("a", "x" * 2500)
