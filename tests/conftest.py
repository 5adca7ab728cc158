"""For all tests: AnyIO's plugin runs ``async def`` tests, on asyncio."""

from __future__ import annotations

import faulthandler
import gc
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import tiers
from tests.support.brokers import template

HERE = Path(__file__).parent
STDERR = pytest.StashKey[int]()

# How long an example takes says nothing on a busy machine.
settings.register_profile("tasuki", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tasuki")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every", action="store_true", help="run the files of tests/tiers.py, too")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import a nightly file, unless it is named."""
    is_named = any(collection_path.name in argument for argument in config.args)
    if config.option.every or is_named or not collection_path.is_relative_to(HERE):
        return None
    return tiers.is_nightly(collection_path.relative_to(HERE).as_posix()) or None


def pytest_configure(config: pytest.Config) -> None:
    """Before any test process starts, so that all of them copy the same templates."""
    template.folder()
    config.stash[STDERR] = os.dup(2)  # while it is not captured


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    """Watch the end of a test that has failed, too: there pytest's own watch is off."""
    seconds = float(item.config.getini("faulthandler_timeout"))
    faulthandler.dump_traceback_later(seconds, exit=True, file=item.config.stash[STDERR])
    return (yield)


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
