"""Unique messages inside the caller's own database transaction, with every client."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import pytest

from tasuki import App
from tasuki.queues.queue import Envelope
from tasuki.queues.result import Confirmed
from tests.e2e.test_outbox import (  # the fixtures too
    ASYNC,
    SYNC,
    RolledBackError,
    address,  # noqa: F401
    app,  # noqa: F401
    name,  # noqa: F401
    received,
    url,  # noqa: F401
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("transaction", ASYNC)
async def test_the_key_is_kept_from_the_commit_on(
    app: App,  # noqa: F811
    address: str,  # noqa: F811
    name: str,  # noqa: F811
    transaction: Callable[[str], AbstractAsyncContextManager[Any]],
) -> None:
    queue = app.queue(name)

    async def roll_back() -> None:
        async with transaction(address) as connection:
            assert (await queue.publish(0, unique="k", connection=connection)).outcome == "stored"
            raise RolledBackError

    with pytest.raises(RolledBackError):
        await roll_back()
    async with transaction(address) as connection:
        first = await queue.publish(1, unique="k", id="a", connection=connection)
        many = [Envelope(body=2, unique="k", id="b"), Envelope(body=3, unique="other"), 4]
        results = await queue.publish_many(many, connection=connection)
    assert first.outcome == "stored"
    assert [each.outcome for each in results if isinstance(each, Confirmed)] == ["kept", "stored", "stored"]
    assert results[0].id == "a"
    assert sorted(await received(app, name)) == [1, 3, 4]


@pytest.mark.parametrize("transaction", SYNC)
def test_synchronous_connections(
    url: str,  # noqa: F811
    address: str,  # noqa: F811
    name: str,  # noqa: F811
    transaction: Callable[[str], AbstractContextManager[Any]],
) -> None:
    app = App(url)  # noqa: F811
    app.queue(name)
    try:
        with transaction(address) as connection:
            app.sync.publish(name, 1, unique="k", id="a", connection=connection)
            later = app.sync.publish(
                name, 2, unique="k", on_conflict="extend", delay="1h", id="b", connection=connection
            )
        assert (later.outcome, later.instead_of) == ("extended", "a")
        depth = app.sync.queue(name).info()
        assert (depth["ready"], depth["delayed"]) == (0, 1)
    finally:
        app.sync.close()
