"""Virtual time for all tests of this folder, and a service that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tasuki.backoff import Backoff
from tasuki.supervisor import RestartPolicy, ServiceSpec

HANG = "hang"


class FakeService:
    """``starts``, ``waits`` and ``stops`` say what each next call does: an exception is raised, HANG hangs, a number is
    slept; once they are used up a start and a stop succeed, and a wait waits for ``end``."""

    def __init__(self, name: str = "s", log: list[str] | None = None) -> None:
        self.name = name
        self.log = [] if log is None else log
        self.starts: list[object] = []
        self.waits: list[object] = []
        self.stops: list[object] = []
        self.stop_timeouts: list[float] = []
        self.end = asyncio.Event()
        self.failure: Exception | None = None

    async def start(self) -> None:
        self.log.append(f"start {self.name}")
        await self._do(self.starts)
        self.log.append(f"started {self.name}")

    async def wait(self) -> None:
        if self.waits:
            await self._do(self.waits)
            return
        await self.end.wait()
        if self.failure is not None:
            failure, self.failure = self.failure, None
            self.end.clear()
            raise failure

    def fail(self, error: Exception) -> None:
        """Let the running service fail."""
        self.failure = error
        self.end.set()

    async def stop(self, timeout: float) -> None:
        self.log.append(f"stop {self.name}")
        self.stop_timeouts.append(timeout)
        await self._do(self.stops)
        self.log.append(f"stopped {self.name}")

    async def _do(self, plan: list[object]) -> None:
        step = plan.pop(0) if plan else None
        if step is HANG:
            await asyncio.Event().wait()
            raise AssertionError
        if step == "stubborn":
            await hang_stubbornly()
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, float | int):
            await asyncio.sleep(step)


async def hang_stubbornly() -> None:
    """Ignore cancellation for an hour."""
    until = asyncio.get_running_loop().time() + 3600
    while (left := until - asyncio.get_running_loop().time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue


@pytest.fixture
def steady() -> RestartPolicy:
    """Restarts after 1, 2, 4, … 90 s exactly."""
    return RestartPolicy(Backoff(jitter=0))


@pytest.fixture
def make_spec(steady: RestartPolicy) -> Callable[..., ServiceSpec]:
    def make(service: FakeService, *depends_on: str, **options: object) -> ServiceSpec:
        values: dict[str, object] = {"auto_start": True, "restart": steady} | options
        return ServiceSpec(service.name, service, depends_on, **values)  # type: ignore[arg-type]

    return make
