"""HandlerStore over the store of memory, as handlers of every language use it."""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.contracts.state.store import Store
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    HandlerError,
    ThrottledError,
)
from tasuki.handlers.store import HandlerStore
from tasuki.handlers.store_values import MAX_DEPTH, pack, unpack
from tasuki.kinds.stores import memory_store
from tasuki.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tasuki_clock: FakeClock) -> HandlerStore:
    return memory_store("app:s", max_size=3, clock=tasuki_clock)


async def kind_of(call: Coroutine[Any, Any, Any]) -> tuple[str, str, bool | None]:
    with pytest.raises(HandlerError) as raised:
        await call
    return raised.value.kind, raised.value.message, raised.value.retryable


async def keys(store: HandlerStore) -> list[str]:
    return [item["key"] for item in (await store.list())["items"]]


async def test_values_are_copies(store: HandlerStore) -> None:
    value = {"a": [1]}
    assert await store.set("k", value) is True
    value["a"].append(2)
    (await store.get("k"))["a"].append(3)
    (await store.entry("k"))["value"]["a"].append(4)
    assert await store.get("k") == {"a": [1]}


async def test_entries_expire(store: HandlerStore, tasuki_clock: FakeClock) -> None:
    await store.set("k", 1, ttl=5)
    await store.set("forever", 1, ttl=0)
    tasuki_clock.advance(4.9)
    assert await store.has("k")
    tasuki_clock.advance(0.1)
    assert not await store.has("k")
    assert await store.delete("k") is False
    assert await kind_of(store.get("k")) == ("NotFound", "key not found", False)
    assert await keys(store) == ["forever"]
    await store.put("k", 2, only_if_absent=True)


async def test_one_version_counter_for_all_keys(store: HandlerStore) -> None:
    await store.set("a", 1)
    assert (await store.put("b", 1))["version"] == "2"
    assert await store.put("a", 2, if_version=1) == {"key": "a", "value": 2, "version": "3"}
    assert await kind_of(store.put("a", 3, if_version="1")) == ("Conflict", "version mismatch", True)
    assert await kind_of(store.put("x", 1, if_version=1)) == ("NotFound", "key not found", False)
    assert await kind_of(store.put("a", 1, only_if_absent=True)) == ("AlreadyExists", "key already exists", False)
    assert await store.get("a") == 2


async def test_list_pages() -> None:
    large = memory_store("app:l")
    for n in range(1200):
        await large.set(f"k{n:04}", n)
    await large.set("other", 1)
    first = await large.list(prefix="k", limit=2)
    assert ([item["value"] for item in first["items"]], first["cursor"], first["has_more"]) == ([0, 1], "k0001", True)
    assert (await large.list(prefix="k", after="k0001", limit=1))["items"][0]["value"] == 2
    assert len((await large.list(limit=0))["items"]) == 100
    assert len((await large.list(limit=5000))["items"]) == 1000
    last = await large.list(prefix="other")
    assert (last["cursor"], last["has_more"]) == ("other", False)
    for nothing in ("none", "k\0", "\ud800", "k" * 600):
        assert await large.list(prefix=nothing) == {"items": [], "cursor": "", "has_more": False}


@pytest.mark.parametrize(
    ("method", "args", "message"),
    [
        ("get", ("",), "key is required"),
        ("set", (5, 1), "key is required"),
        ("set", ("k", None), "value is required"),
        ("list", (5,), "prefix must be a string"),
        ("list", ("", 5), "after must be a string"),
        ("list", ("", "\0"), "after must be the cursor of a page, or a key"),
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
        ("put", ("k", 1, None, False, "9" * 40), "if_version must be a positive version"),
        ("put", ("k", 1, None, True, 1), "only_if_absent and if_version are mutually exclusive"),
        ("release", ("k", ""), "holder must be a text"),
    ],
)
async def test_bad_arguments(store: HandlerStore, method: str, args: tuple[Any, ...], message: str) -> None:
    assert await kind_of(getattr(store, method)(*args)) == ("Invalid", message, False)


@pytest.mark.parametrize(
    ("method", "args", "options", "message"),
    [
        ("take", (-1,), {"rate": 1, "burst": 1}, "tokens must be a non-negative integer"),
        ("take", (1,), {"rate": 0, "burst": 1}, "rate must be a positive number of tokens a second"),
        ("give", (1,), {"rate": 1, "burst": 0}, "burst must be a positive integer"),
        ("hold", ("me",), {"places": 0, "lease": 1}, "places must be a positive integer"),
        ("hold", ("me",), {"lease": 0}, "lease must be a positive number of seconds"),
    ],
)
async def test_bad_buckets_and_places(
    store: HandlerStore, method: str, args: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    assert await kind_of(getattr(store, method)("k", *args, **options)) == ("Invalid", message, False)


async def test_keys_that_are_too_long_and_values_that_are_too_large() -> None:
    store = memory_store("app:s", max_bytes=10_000)
    kind, message, _ = await kind_of(store.get("k" * 513))
    assert (kind, "has 513 bytes, and must have 1 to 512" in message) == ("Invalid", True)
    kind, message, _ = await kind_of(store.set("k", "x" * 10_001))
    assert (kind, "may have 10000 at most" in message) == ("Invalid", True)
    await store.set("k", "x" * 9_900)
    assert await kind_of(store.set("l", "x" * 100)) == ("Unavailable", "store is full", True)
    await store.set("k", "y" * 9_950)
    assert (await store.get("k"))[0] == "y"
    large = memory_store("app:l")
    await large.set("k", "x" * 2**21)
    assert len(await large.get("k")) == 2**21


async def test_info(store: HandlerStore) -> None:
    assert await store.info() == {
        "id": "app:s",
        "backend": "memory",
        "consistency": "local",
        "durable": False,
        "list": True,
        "versioned": True,
        "conditional_put": True,
        "ttl": True,
    }


async def test_buckets_and_places(store: HandlerStore, tasuki_clock: FakeClock) -> None:
    assert await store.take("k", 5, rate=1, burst=3) == (3, 0.0)
    assert await store.take("k", rate=1, burst=3) == (0, 1.0)
    await store.give("k", 1, rate=1, burst=3)
    assert await store.take("k", rate=1, burst=3) == (1, 0.0)
    until = await store.hold("k", "a", lease=5)
    assert until == tasuki_clock.time() + 5
    assert await store.hold("k", "b", lease=5) is None
    await store.release("k", "a")
    assert await store.hold("k", "b", lease=5)
    assert await keys(store) == []


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (BrokerUnavailableError("away"), "Unavailable", True),
        (BrokerTimeoutError("late"), "Timeout", True),
        (ThrottledError("slow"), "RateLimited", True),
        (AccessDeniedError("no"), "Internal", False),
    ],
)
async def test_errors_of_the_broker(error: DriverError, kind: str, retryable: bool) -> None:
    async def opened() -> Store:
        raise error

    store = HandlerStore("app:s", opened, "redis")
    for call in (store.get("k"), store.set("k", 1), store.list(), store.info(), store.take("k", rate=1, burst=1)):
        with pytest.raises(HandlerError, match=str(error)) as raised:
            await call
        assert (raised.value.kind, raised.value.retryable, raised.value.__cause__) == (kind, retryable, error)
        assert (raised.value.details or {}).get("outcome") == (error.outcome if retryable else None)


async def test_a_value_that_no_handler_has_written(store: HandlerStore) -> None:
    driver = MemoryDriver("app:d")
    await driver.open()
    raw = driver.store("s")
    await raw.open()
    await raw.put("k", b"\xc1")

    async def opened() -> Store:
        return raw

    kind, message, _ = await kind_of(HandlerStore("app:s", opened, "memory").get("k"))
    assert (kind, message) == (
        "Internal",
        "the value of key 'k' was not written by a handler, and cannot be read by one",
    )


SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)


VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner | st.none())
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(0, 99), inner | st.none())
    ),
    max_leaves=20,
)


class Color(enum.StrEnum):
    RED = "red"


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@given(VALUES)
def test_values_come_back_as_they_went_in(value: Any) -> None:
    assert repr(unpack("k", pack("k", value))) == repr(value)


def test_odd_floats() -> None:
    assert math.isnan(unpack("k", pack("k", math.nan)))
    assert unpack("k", pack("k", [math.inf, -0.0])) == [math.inf, -0.0]


def test_as_deep_as_it_may_be() -> None:
    assert unpack("k", pack("k", nested(MAX_DEPTH - 1))) == nested(MAX_DEPTH - 1)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ((1, 2), "a value of type tuple"),
        ({1, 2}, "a value of type set"),
        ([datetime(2026, 1, 1, tzinfo=UTC)], "a value of type datetime"),
        ({"a": Decimal(1)}, "a value of type Decimal"),
        (Color.RED, "a value of type Color"),
        (Counter("a"), "a value of type Counter"),
        (object(), "a value of type object"),
        (2**64, "an int beyond 64 bits"),
        ("\ud800", "a str that is not valid Unicode"),
        ({b"a": 1}, "a dict with a key of type bytes"),
        ({True: 1}, "a dict with a key of type bool"),
        (nested(MAX_DEPTH), "a list nested deeper than 128 levels"),
    ],
)
def test_what_cannot_be_stored(value: Any, told: str) -> None:
    with pytest.raises(HandlerError) as raised:
        pack("carts/7", value)
    assert (raised.value.kind, raised.value.retryable) == ("Invalid", False)
    assert str(raised.value).startswith(f"key 'carts/7': {told}")
    assert str(raised.value).endswith("; store plain data: bool, int, float, str, bytes, and lists and dicts of these")


def test_a_value_that_contains_itself() -> None:
    value: dict[str, Any] = {}
    value["a"] = [value]
    with pytest.raises(HandlerError, match="it may contain itself"):
        pack("k", value)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x01\x02", b"\xff" * 3])
def test_bytes_that_are_no_value(data: bytes) -> None:
    with pytest.raises(HandlerError, match="was not written by a handler"):
        unpack("k", data)
