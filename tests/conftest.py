"""For all tests: AnyIO's plugin runs ``async def`` tests, on asyncio."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
