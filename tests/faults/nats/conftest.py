"""A server for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.faults.nats.site import Site, a_site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with a_site() as made:
        yield made
