"""Services are removed, replaced and updated while others run."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.errors import LifecycleError, StopTimeoutError
from tasuki.supervisor import ServiceSpec, State
from tests.unit.supervisor.world import AWAY, MakeSpec, World

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(make_spec: MakeSpec) -> World:
    return World(make_spec)


class TestRemove:
    async def test_stops_and_forgets(self, world: World) -> None:
        world.add("driver")
        world.add("consumer", "driver")
        await world.supervisor.start()
        await world.supervisor.remove("driver", "consumer")
        assert world.log[-4:] == ["stop consumer", "stopped consumer", "stop driver", "stopped driver"]
        assert world.supervisor.states() == {}

    async def test_refuses_what_is_needed(self, world: World) -> None:
        world.add("driver")
        world.add("consumer", "driver")
        await world.supervisor.start()
        with pytest.raises(LifecycleError, match="'consumer' depends on"):
            await world.supervisor.remove("driver")
        assert world.state("driver") == "running"
        await world.supervisor.stop()

    async def test_a_late_one_is_forgotten_and_told(self, world: World) -> None:
        world.add("a").stops = [StopTimeoutError("late")]
        await world.supervisor.start()
        with pytest.raises(StopTimeoutError):
            await world.supervisor.remove("a")
        assert world.supervisor.states() == {}

    async def test_during_a_start(self, world: World) -> None:
        world.add("driver").starts = [AWAY] * 99
        world.add("consumer", "driver")
        start = asyncio.ensure_future(world.supervisor.start())
        await asyncio.sleep(1)
        await world.supervisor.remove("consumer")
        with pytest.raises(LifecycleError, match="no service 'consumer'"):
            await start
        assert world.state("driver") == "stopped"


class TestReplace:
    async def test_stops_only_what_must_stop(self, world: World) -> None:
        world.add("driver")
        world.add("consumer", "driver")
        world.add("other", "driver")
        await world.supervisor.start()
        world.log.clear()
        await world.supervisor.replace(world.spec("consumer", "driver"))
        assert world.log == ["stop consumer", "stopped consumer", "start consumer", "started consumer"]
        await world.supervisor.stop()

    async def test_dependents_of_a_driver_restart_with_it(self, world: World) -> None:
        world.add("driver")
        world.add("consumer", "driver")
        world.add("idle", "driver", auto_start=False)
        await world.supervisor.start()
        world.log.clear()
        await world.supervisor.replace(world.spec("driver"))
        assert world.log == [
            *("stop consumer", "stopped consumer", "stop driver", "stopped driver"),
            *("start driver", "started driver", "start consumer", "started consumer"),
        ]
        assert world.state("idle") == "unknown"
        await world.supervisor.stop()

    async def test_a_broken_one_is_refused_and_the_old_one_goes_on(self, world: World) -> None:
        old = world.add("consumer")
        await world.supervisor.start()
        new = world.spec("consumer")
        world.services["consumer"].starts = [ValueError("bad option")]
        with pytest.raises(LifecycleError, match="bad option"):
            await world.supervisor.replace(new)
        await world.supervisor.until(lambda states: states["consumer"] is State.RUNNING)
        assert world.log[-2:] == ["start consumer", "started consumer"]
        old.end.set()
        await world.supervisor.wait()
        await world.supervisor.stop()

    async def test_what_did_not_run_is_not_started(self, world: World) -> None:
        world.add("a", auto_start=False)
        await world.supervisor.replace(world.spec("a"))
        assert world.state("a") == "unknown"

    async def test_bad_dependencies_change_nothing(self, world: World) -> None:
        world.add("a")
        await world.supervisor.start()
        with pytest.raises(LifecycleError, match="does not exist"):
            await world.supervisor.replace(world.spec("a", "nowhere"))
        with pytest.raises(LifecycleError, match="no service"):
            await world.supervisor.replace(world.spec("new"))
        assert "stop a" not in world.log
        await world.supervisor.stop()

    async def test_wait_does_not_take_it_for_an_end(self, world: World) -> None:
        world.add("a").stops = [2]
        await world.supervisor.start()
        wait = asyncio.ensure_future(world.supervisor.wait())
        await world.supervisor.replace(world.spec("a"))
        await asyncio.sleep(1)
        assert not wait.done()
        await world.supervisor.stop()
        await wait

    async def test_a_late_stop_of_the_old_one_is_logged(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        world.add("a").stops = [StopTimeoutError("a: handed back 1")]
        await world.supervisor.start()
        await world.supervisor.replace(world.spec("a"))
        assert "a: handed back 1" in caplog.text
        assert world.state("a") == "running"
        await world.supervisor.stop()

    async def test_what_a_check_refuses_puts_the_old_ones_back(self, world: World) -> None:
        world.add("driver")
        world.add("consumer", "driver")
        await world.supervisor.start()
        world.log.clear()

        async def refuse() -> None:
            world.log.append("check")
            raise LifecycleError("messages wait")

        with pytest.raises(LifecycleError, match="messages wait"):
            await world.supervisor.replace(world.spec("driver"), check=refuse)
        assert world.log == ["stop consumer", "stopped consumer", "stop driver", "stopped driver", "check"]
        await world.supervisor.until(lambda states: states["consumer"] is State.RUNNING)
        await world.supervisor.stop()

    async def test_a_stop_meanwhile_wins(self, world: World) -> None:
        world.add("a").stops = [2]
        await world.supervisor.start()
        replace = asyncio.ensure_future(world.supervisor.replace(world.spec("a")))
        await asyncio.sleep(1)
        await world.supervisor.stop()
        with pytest.raises(LifecycleError, match="all services were stopped"):
            await replace
        await asyncio.sleep(100)
        assert world.state("a") != "running"

    async def test_a_pending_one_stays_pending(self, world: World) -> None:
        world.add("driver", startup="optional").starts = [AWAY] * 5
        world.add("consumer", "driver")
        await world.supervisor.start()
        await world.supervisor.replace(world.spec("consumer", "driver"))
        await world.supervisor.until(lambda states: states["consumer"] is State.RUNNING)
        await world.supervisor.stop()


class TestUpdate:
    async def test_a_running_service_gets_other_limits_and_goes_on(self, world: World) -> None:
        service = world.add("a")
        await world.supervisor.start()
        world.supervisor.update(ServiceSpec("a", service, stop_timeout=3.0))
        assert world.state("a") == "running"
        await world.supervisor.stop()
        assert service.stop_timeouts == [3.0]

    async def test_bad_dependencies_change_nothing(self, world: World) -> None:
        world.add("a")
        world.add("b")
        with pytest.raises(LifecycleError, match="does not exist"):
            world.supervisor.update(world.spec("b", "a"), world.spec("a", "nowhere"))
        with pytest.raises(LifecycleError, match="no service"):
            world.supervisor.update(world.spec("new"))
        await world.supervisor.start(["b"])
        assert world.state("a") == "unknown"
        await world.supervisor.stop()
