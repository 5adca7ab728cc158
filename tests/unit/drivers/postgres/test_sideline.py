from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.drivers.postgres.connecting.lease_thread import Sideline
from tasuki.errors import BrokerUnavailableError

pytestmark = pytest.mark.anyio


class FakePool:
    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        return [sql]

    async def close(self) -> None:
        return None


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_while_files_are_short_the_broker_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    sideline = Sideline(FakePool)  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.setattr("tasuki.drivers.postgres.connecting.lease_thread.new_event_loop", _short)
        with pytest.raises(BrokerUnavailableError, match="Too many open files"):
            await sideline.fetch("select 1")
    assert await sideline.fetch("select 1") == ["select 1"]
    await sideline.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_has_died_is_started_again() -> None:
    sideline = Sideline(FakePool)  # type: ignore[arg-type]
    await sideline.fetch("select 1")
    thread, loop = sideline._thread, sideline._loop
    assert thread is not None
    assert loop is not None
    loop.call_soon_threadsafe(_raise)
    await asyncio.to_thread(thread.join, 30)
    loop.close()
    assert await sideline.fetch("select 2") == ["select 2"]
    await sideline.close()


def _short() -> Any:
    raise OSError(24, "Too many open files")


def _raise() -> None:
    raise SystemExit
