"""For all tests: AnyIO's plugin runs ``async def`` tests, on asyncio."""

from __future__ import annotations

import gc
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.brokers import template

# How long an example takes says nothing on a busy machine.
settings.register_profile("tasuki", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tasuki")


def pytest_configure(config: pytest.Config) -> None:
    """Before any test process starts, so that all of them copy the same templates."""
    template.folder()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Spare the garbage collector the tests: each full pass would walk through all eight thousand of them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
