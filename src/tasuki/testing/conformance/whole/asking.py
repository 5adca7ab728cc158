"""Cases of request and reply over the driver: one publishes and waits, the other's result comes back."""

from __future__ import annotations

import asyncio
from typing import Any

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError, RequestTimeoutError
from tasuki.testing.conformance.rig import Rig, Suite, case
from tasuki.testing.conformance.whole.line import Line


class Asking(Suite):
    """Request and reply are the same on every driver."""

    @case()
    async def test_each_request_gets_its_own_result(self, rig: Rig) -> None:
        line = await Line(rig).open()

        async def handle(body: Any, context: Context) -> Any:
            await asyncio.sleep(0.001 * (body["n"] % 3))
            return {"got": body, "none": None, "list": [], "object": {}}

        async with line.asking() as ask, line.consumer(handle, concurrency=5):
            results = await asyncio.gather(*(ask({"n": number}) for number in range(20)))
        assert results == [{"got": {"n": n}, "none": None, "list": [], "object": {}} for n in range(20)]
        await rig.nothing()

    @case("counts_attempts")
    async def test_a_request_that_is_given_up_gets_the_error(self, rig: Rig) -> None:
        line = await Line(rig, max_attempts=2).open()

        async def fail(body: Any, context: Context) -> Any:
            raise HandlerError("no such customer", kind="NotFound", retryable=True)

        told: HandlerError | None = None
        try:
            async with line.asking() as ask, line.consumer(fail):
                await ask(1)
        except HandlerError as error:
            told = error
        assert told is not None, "HandlerError expected"
        assert (told.message, told.kind, told.retryable) == ("no such customer", "NotFound", True)
        assert len(await rig.take(queue=rig.other)) == 1

    @case()
    async def test_a_request_that_nobody_handles_times_out(self, rig: Rig) -> None:
        line = await Line(rig).open()
        try:
            async with line.asking() as ask:
                await ask(1, timeout=rig.suite.brief * 4)
        except RequestTimeoutError:
            pass
        else:
            raise AssertionError("RequestTimeoutError expected")
