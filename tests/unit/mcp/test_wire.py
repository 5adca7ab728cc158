"""Stdin that no event loop can wait for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasuki.mcp.wire import WireRequests

pytestmark = pytest.mark.anyio


async def lines_of(path: str) -> list[str]:
    number = os.open(path, os.O_RDONLY)
    try:
        requests = WireRequests(number)
        await requests.open()
        found = [line async for line in requests]
        requests.close()
    finally:
        os.close(number)
    return found


async def test_the_null_device_and_a_file_have_an_end(tmp_path: Path) -> None:
    (tmp_path / "requests").write_text('{"a": 1}\n{"b": 2}\n')

    assert await lines_of(os.devnull) == []
    assert await lines_of(str(tmp_path / "requests")) == ['{"a": 1}\n', '{"b": 2}\n']
