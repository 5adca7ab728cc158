"""Lists of a store at NATS: the keys are read once for all pages, and each page shows earlier writes."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.drivers.nats.state.store import MOST_KEPT, MOST_NEW, NATSStore
from tasuki.drivers.nats.state.stream import StoreStream
from tests.faults.nats.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

STREAM = "tasuki+=store+state"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The filters with which all names were read."""
    found: list[str] = []
    names = StoreStream.names

    async def counted(self: StoreStream, connection: Any, filter_: str) -> Any:
        found.append(filter_)
        return await names(self, connection, filter_)

    monkeypatch.setattr(StoreStream, "names", counted)
    return found


async def filled(site: Site, number: int) -> NATSStore:
    store = (await site.driver(timeout=30)).store("state")
    assert isinstance(store, NATSStore)
    await store.open()
    await store.put_all([(f"k/{index:04}", b"v") for index in range(number)])
    return store


async def listed(store: NATSStore, after: str = "", limit: int = 50) -> list[str]:
    keys: list[str] = []
    while True:
        page = await store.list("k/", after=after, limit=limit)
        keys += [entry.key for entry in page.entries]
        after = page.cursor
        if not after:
            return keys


async def test_all_pages_of_a_list_read_the_names_once(site: Site, reads: list[str]) -> None:
    store = await filled(site, 1000)
    assert await listed(store) == [f"k/{index:04}" for index in range(1000)]
    assert len(reads) == 1
    assert not store._listing._kept


async def test_a_later_page_shows_what_was_written_before_it(site: Site, reads: list[str]) -> None:
    store = await filled(site, 100)
    other = (await site.driver(is_direct=True)).store("state")
    await other.open()
    page = await store.list("k/", limit=50)
    await other.put("k/0049+", b"new")
    await other.put("k/0060", b"changed")
    await other.delete("k/0070")
    await other.put("l/0001", b"elsewhere")
    await other.take("k/0080", 1, rate=1.0, burst=10)
    left = await store.list("k/", after=page.cursor, limit=100)
    wanted = ["k/0049+", *(f"k/{index:04}" for index in range(50, 100) if index != 70)]
    assert [entry.key for entry in left.entries] == wanted
    assert next(entry.value for entry in left.entries if entry.key == "k/0060") == b"changed"
    assert len(reads) == 1


async def test_after_many_writes_the_names_are_read_again(site: Site, reads: list[str]) -> None:
    store = await filled(site, 100)
    page = await store.list("k/", limit=50)
    await store.put_all([(f"k/1{index:03}", b"v") for index in range(MOST_NEW + 1)])
    assert len(await listed(store, page.cursor)) == 50 + MOST_NEW + 1
    assert len(reads) == 2


async def test_a_stream_that_was_made_again_between_two_pages_is_read_again(site: Site, reads: list[str]) -> None:
    store = await filled(site, 10)
    page = await store.list("k/", limit=5)
    assert "error" not in await site.ask(f"STREAM.DELETE.{STREAM}")
    await store.put_all([(f"k/{index:04}", b"v") for index in range(3, 30)])
    assert await listed(store, page.cursor) == [f"k/{index:04}" for index in range(5, 30)]
    assert len(reads) == 2


async def test_lists_that_nothing_continues_are_kept_within_a_bound(site: Site) -> None:
    store = await filled(site, 20)
    for prefix in ("", "k", "k/", "k/0", "k/00", "k/000"):
        assert (await store.list(prefix, limit=1)).cursor
    assert list(store._listing._kept) == ["k/", "k/0", "k/00", "k/000"]
    assert len(store._listing._kept) == MOST_KEPT
    for prefix in list(store._listing._kept):
        store._listing._expire(prefix, id(store._listing._kept[prefix]))
    assert not store._listing._kept
