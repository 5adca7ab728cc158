"""Providers that raise what would end a task, as they make an object and as they close it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tasuki.errors import ProviderError
from tasuki.handlers.providing.providers import DeclaredProvider, Providers

pytestmark = pytest.mark.anyio

closed: list[str] = []


class First: ...


class Second: ...


async def first() -> AsyncIterator[First]:
    yield First()
    closed.append("first")


async def with_a_task(first: First) -> AsyncIterator[Second]:
    task = asyncio.create_task(asyncio.Event().wait())
    yield Second()
    task.cancel()
    await task


def with_an_exit(first: First) -> Iterator[Second]:
    yield Second()
    raise SystemExit(3)


async def cancelled() -> Second:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("function", "text"),
    [(with_a_task, "it raised CancelledError()"), (with_an_exit, "it raised SystemExit(3)")],
)
async def test_the_end_closes_all_objects_whatever_one_raises(
    function: object, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    closed.clear()
    declared = {"app:first": first, "app:second": function}
    providers = Providers([DeclaredProvider(id, "process", lambda each=each: each) for id, each in declared.items()])  # type: ignore[misc]
    for provider in providers.order([Second]):
        await providers.of_process(provider)
    await providers.stop()
    assert closed == ["first"]
    assert f"provider 'app:second' failed to close: {text}; it cannot end the worker" in caplog.text


async def test_a_cancellation_of_the_providers_own_is_its_failure() -> None:
    providers = Providers([DeclaredProvider("app:second", "process", lambda: cancelled)])
    (provider,) = providers.order([Second])
    with pytest.raises(ProviderError, match=r"provider 'app:second' failed: it raised CancelledError\(\)"):
        await providers.of_process(provider)
