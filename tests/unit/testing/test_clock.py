import asyncio
import threading

import pytest

from tasuki.testing.clock import EPOCH, FakeClock, VirtualTimeLoop, virtual_time


class TestFakeClock:
    def test_stands_still_until_it_is_advanced(self) -> None:
        clock = FakeClock()
        assert (clock.monotonic(), clock.boottime(), clock.time()) == (0, 0, EPOCH)
        clock.advance(1.5)
        assert (clock.monotonic(), clock.boottime(), clock.time()) == (1.5, 1.5, EPOCH + 1.5)

    def test_cannot_go_back(self) -> None:
        with pytest.raises(ValueError, match="cannot go back"):
            FakeClock().advance(-1)

    def test_the_wall_clock_alone_can(self) -> None:
        clock = FakeClock(100)
        clock.set_off(-40)
        assert (clock.monotonic(), clock.time()) == (0, 60)


class TestVirtualTime:
    def test_a_day_takes_no_time(self) -> None:
        async def main() -> float:
            await asyncio.sleep(86_400)
            async with asyncio.timeout(60):
                await asyncio.gather(asyncio.sleep(5), asyncio.sleep(7))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 100_000)
            return asyncio.get_running_loop().time()

        with virtual_time() as runner:
            assert runner.run(main()) == 86_400 + 7 + 100_000

    def test_it_stands_still_while_something_runs(self) -> None:
        async def main() -> float:
            timer = asyncio.ensure_future(asyncio.sleep(1))
            for _ in range(1000):
                await asyncio.sleep(0)
            assert not timer.done()
            now = asyncio.get_running_loop().time()
            await timer
            return now

        with virtual_time() as runner:
            assert runner.run(main()) == 0

    def test_timers_fire_in_order(self) -> None:
        async def main() -> list[float]:
            fired: list[float] = []
            loop = asyncio.get_running_loop()
            for delay in (3, 1, 2, 1e-9, 0.1 + 0.2):
                loop.call_later(delay, fired.append, delay)
            await asyncio.sleep(4)
            return fired

        with virtual_time() as runner:
            assert runner.run(main()) == [1e-9, 0.1 + 0.2, 1, 2, 3]

    def test_its_clock_tells_its_time(self) -> None:
        async def main() -> tuple[float, float, float]:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualTimeLoop)
            await asyncio.sleep(5)
            return loop.clock.monotonic(), loop.clock.boottime(), loop.clock.time()

        with virtual_time() as runner:
            assert runner.run(main()) == (5, 5, EPOCH + 5)

    def test_a_deadlock_fails_at_once(self) -> None:
        async def main() -> None:
            await asyncio.Event().wait()

        with virtual_time() as runner, pytest.raises(RuntimeError, match="nothing could ever happen"):
            runner.run(main())

    def test_a_call_from_another_thread_that_came_before_is_seen(self) -> None:
        async def main() -> float:
            loop = asyncio.get_running_loop()
            event = asyncio.Event()
            thread = threading.Thread(target=loop.call_soon_threadsafe, args=(event.set,))
            thread.start()
            thread.join()
            await event.wait()
            return loop.time()

        with virtual_time() as runner:
            assert runner.run(main()) == 0
