"""Commands of frameworks name the project in the environment, for processes that they start; not for other tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    before = {**os.environ}
    yield
    os.environ.clear()
    os.environ.update(before)
