"""Time passes by itself here: a watch that waits for seconds takes none."""

from __future__ import annotations

import pytest

from tasuki.testing.clock import VirtualTimeLoop


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}
