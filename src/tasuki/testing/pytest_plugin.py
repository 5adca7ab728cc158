"""The pytest plugin: fixtures for tests of code that uses Tasuki.

It is loaded in every run of pytest where Tasuki is installed, so it imports nothing but pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tasuki.testing.clock import FakeClock


@pytest.fixture
def tasuki_clock() -> FakeClock:
    """A clock that stands still until the test calls ``advance``."""
    from tasuki.testing.clock import FakeClock

    return FakeClock()
