"""For all tests: AnyIO's plugin runs ``async def`` tests, on asyncio."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says nothing on a busy machine.
settings.register_profile("tasuki", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tasuki")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
