from __future__ import annotations

from typing import Any

import pytest

from tasuki.drivers.nats.protocol.lease_thread import Renewals
from tasuki.errors import BrokerUnavailableError

pytestmark = pytest.mark.anyio


class FakeLink:
    def __init__(self) -> None:
        self.is_closed = False

    async def get(self) -> Any:
        return self

    async def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_while_files_are_short_the_broker_is_unavailable_and_nothing_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    links: list[FakeLink] = []
    renewals = Renewals(lambda: links.append(FakeLink()) or links[-1])  # type: ignore[func-returns-value, arg-type, return-value]
    renewals.open()
    with monkeypatch.context() as patch:
        patch.setattr("tasuki.drivers.nats.protocol.lease_thread.new_event_loop", _short)
        with pytest.raises(BrokerUnavailableError, match="Too many open files"):
            await renewals.run(_look)
    assert await renewals.run(_look) == "looked"
    renewals.close()
    assert [link.is_closed for link in links] == [True]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_has_died_is_started_again() -> None:
    renewals = Renewals(FakeLink)  # type: ignore[arg-type]
    renewals.open()
    assert await renewals.run(_look) == "looked"
    thread, loop = renewals._thread, renewals._loop
    assert thread is not None
    assert loop is not None
    loop.call_soon_threadsafe(_raise)
    thread.join(30)
    assert await renewals.run(_look) == "looked"
    renewals.close()


async def _look(connection: Any) -> str:
    return "looked"


def _short() -> Any:
    raise OSError(24, "Too many open files")


def _raise() -> None:
    raise SystemExit
