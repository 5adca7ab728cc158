"""The supervisor starts, runs and stops services in the order of their dependencies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable

import pytest

from tasuki.backoff import Backoff
from tasuki.errors import LifecycleError, QueueConflictError, RestartLimitError, StopTimeoutError
from tasuki.supervisor import RestartPolicy, ServiceSpec, State, Supervisor, spec, supervisor
from tasuki.supervisor.supervisor import Shutdown, StateChanges, join_errors
from tests.unit.supervisor.conftest import HANG, FakeService
from tests.unit.supervisor.world import AWAY, MakeSpec, World

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(make_spec: MakeSpec) -> World:
    return World(make_spec)


async def test_each_of_many_services_is_looked_at_a_few_times(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []
    may_start = spec.may_start

    def noted(graph: spec.Graph, waiting: Iterable[str], up: Collection[str]) -> list[str]:
        looked_at.extend(graph)
        return may_start(graph, waiting, up)

    monkeypatch.setattr(supervisor, "may_start", noted)
    world.add("driver")
    for number in range(100):
        world.add(f"consumer {number}", "driver")
    await world.supervisor.start()
    assert len(looked_at) <= 5 * 100
    await world.supervisor.stop()


async def test_dependencies_start_first_and_stop_last(world: World) -> None:
    world.add("consumer", "queue")
    world.add("queue", "driver")
    world.add("driver", auto_start=False)
    world.add("other", auto_start=False)
    await world.supervisor.start()
    assert world.log == [f"{verb} {name}" for name in ("driver", "queue", "consumer") for verb in ("start", "started")]
    assert world.state("other") == "unknown"
    world.log.clear()
    await world.supervisor.stop()
    assert world.log == [f"{verb} {name}" for name in ("consumer", "queue", "driver") for verb in ("stop", "stopped")]
    await world.supervisor.stop()
    assert world.state("driver") == "stopped"


async def test_independent_services_start_and_stop_in_parallel(world: World) -> None:
    for number in range(10):
        service = world.add(str(number))
        service.starts, service.stops = [5], [3]
    await world.supervisor.start()
    assert world.now == 5
    await world.supervisor.stop()
    assert world.now == 8


async def test_the_longest_stop_timeout_is_that_of_a_service() -> None:
    supervisor = Supervisor()
    assert supervisor.stop_timeout == 0.0
    for id, stop_timeout in (("a", 3.0), ("b", 7.0), ("c", 5.0)):
        supervisor.add(ServiceSpec(id, FakeService(id), stop_timeout=stop_timeout))
    assert supervisor.stop_timeout == 7.0


async def test_starting_twice_starts_once(world: World) -> None:
    world.add("a").starts = [2]
    await asyncio.gather(world.supervisor.start(), world.supervisor.start())
    await world.supervisor.start()
    assert world.log.count("start a") == 1
    await world.supervisor.stop()


async def test_stop_and_start_again(world: World) -> None:
    world.add("driver")
    world.add("consumer", "driver")
    for _ in range(3):
        await world.supervisor.start()
        await world.supervisor.stop()
    assert world.log.count("started consumer") == 3


async def test_start_during_a_stop_waits_for_its_end(world: World) -> None:
    world.add("driver")
    world.add("consumer", "driver").stops = [3]
    await world.supervisor.start()
    stop = asyncio.ensure_future(world.supervisor.stop())
    await asyncio.sleep(1)
    await world.supervisor.start()
    await stop
    assert world.log[-8:] == [
        *("stop consumer", "stopped consumer", "stop driver", "stopped driver"),
        *("start driver", "started driver", "start consumer", "started consumer"),
    ]
    await world.supervisor.stop()


async def test_chosen_services_start_with_their_dependencies(world: World) -> None:
    world.add("driver", auto_start=False)
    world.add("a", "driver")
    world.add("b", "driver")
    await world.supervisor.start(["a"])
    assert [world.state(name) for name in ("driver", "a", "b")] == ["running", "running", "unknown"]
    await world.supervisor.stop()


class TestBadGraphs:
    async def test_missing_dependency(self, world: World) -> None:
        world.add("a", "nowhere")
        world.add("b")
        with pytest.raises(LifecycleError, match="'a' depends on 'nowhere', which does not exist") as caught:
            await world.supervisor.start()
        assert caught.value.service == "a"
        assert world.log == []

    async def test_cycle(self, world: World) -> None:
        world.add("a", "b")
        world.add("b", "a")
        with pytest.raises(LifecycleError, match="depend on each other: "):
            await world.supervisor.start()

    async def test_unknown(self, world: World) -> None:
        with pytest.raises(LifecycleError, match="no service 'x'"):
            await world.supervisor.start(["x"])

    async def test_twice(self, world: World) -> None:
        world.add("a")
        with pytest.raises(LifecycleError, match="exists already"):
            world.add("a")


class TestAbsentBroker:
    async def test_is_waited_for_with_backoff(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        world.add("driver").starts = [AWAY] * 8
        world.add("consumer", "driver")
        with caplog.at_level(logging.INFO):
            await world.supervisor.start()
        assert world.now == 1 + 7 * 2
        assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
            "service 'driver' cannot start: broker is unavailable; next attempt in 1s",
            "service 'driver' cannot start: broker is unavailable; next attempt in 2s",
        ], "a line for each attempt would hide what else happens"
        assert "service 'driver' is running (failures before: 8)" in caplog.text
        assert all(record.exc_info is None for record in caplog.records)
        assert world.log.count("start consumer") == 1
        await world.supervisor.stop()

    async def test_stop_while_waiting_ends_the_start(self, world: World) -> None:
        world.add("driver").starts = [AWAY] * 100
        start = asyncio.ensure_future(world.supervisor.start())
        await asyncio.sleep(100)
        await world.supervisor.stop()
        with pytest.raises(LifecycleError, match="all services were stopped"):
            await start
        assert world.state("driver") == "stopped"

    async def test_an_optional_one_lets_the_rest_go_on(self, world: World) -> None:
        world.add("driver", startup="optional").starts = [AWAY] * 4
        world.add("consumer", "driver")
        world.add("other")
        await world.supervisor.start()
        assert world.now == 0
        assert [world.state(name) for name in ("driver", "consumer", "other")] == ["failed", "unknown", "running"]
        await world.supervisor.until(lambda states: states["consumer"] is State.RUNNING)
        assert world.now == 7
        await world.supervisor.stop()

    async def test_an_optional_one_that_gives_up_does_not_end_the_rest(self, world: World) -> None:
        limit = RestartPolicy(Backoff(), max_attempts=1)
        world.add("driver", startup="optional", restart=limit).starts = [AWAY] * 9
        world.add("other")
        await world.supervisor.start()
        wait = asyncio.ensure_future(world.supervisor.wait())
        await asyncio.sleep(1000)
        assert not wait.done()
        await world.supervisor.start()
        await world.supervisor.stop()
        await wait

    async def test_the_restart_limit_fails_the_start(self, world: World) -> None:
        world.add("driver", restart=RestartPolicy(Backoff(), max_attempts=3)).starts = [AWAY] * 9
        with pytest.raises(RestartLimitError, match=r"failed 4 times in a row \(restart.max_attempts: 3\): broker is"):
            await world.supervisor.start()


class TestDefiniteError:
    async def test_fails_the_start_and_stops_what_was_started(self, world: World) -> None:
        world.add("driver")
        world.add("good", "driver")
        world.add("bad", "driver").starts = [QueueConflictError("queue 'tasks' has other options")]
        with pytest.raises(LifecycleError, match="'bad' cannot start: queue 'tasks' has other options") as caught:
            await world.supervisor.start()
        assert caught.value.service == "bad"
        assert isinstance(caught.value.__cause__, QueueConflictError)
        assert [world.state(name) for name in ("good", "driver")] == ["stopped", "stopped"]
        assert world.log[-2:] == ["stop driver", "stopped driver"]

    async def test_leaves_running_what_ran_before(self, world: World) -> None:
        world.add("driver")
        await world.supervisor.start()
        world.add("bad", "driver").starts = [ValueError("no")]
        with pytest.raises(LifecycleError):
            await world.supervisor.start()
        assert world.state("driver") == "running"
        await world.supervisor.stop()


class TestRunning:
    async def test_a_failure_restarts_it_and_its_dependents_keep_running(self, world: World) -> None:
        driver = world.add("driver")
        world.add("consumer", "driver")
        await world.supervisor.start()
        driver.fail(ValueError("connection lost"))
        await world.supervisor.until(lambda states: states["driver"] is State.FAILED)
        await world.supervisor.until(lambda states: states["driver"] is State.RUNNING)
        assert world.log.count("start consumer") == 1
        assert "stop consumer" not in world.log
        await world.supervisor.stop()

    async def test_wait_ends_when_all_have_exited(self, world: World) -> None:
        world.add("a")
        world.add("b", "a")
        await world.supervisor.start()
        wait = asyncio.ensure_future(world.supervisor.wait())
        world.services["a"].end.set()
        await asyncio.sleep(1)
        assert not wait.done()
        world.services["b"].end.set()
        await wait
        assert world.state("b") == "exited"
        await world.supervisor.stop()

    async def test_wait_ends_when_all_is_stopped(self, world: World) -> None:
        world.add("a")
        await world.supervisor.start()
        wait = asyncio.ensure_future(world.supervisor.wait())
        await asyncio.sleep(1)
        await world.supervisor.stop()
        await wait

    async def test_wait_raises_when_a_required_one_gives_up(self, world: World) -> None:
        service = world.add("a", restart=RestartPolicy(Backoff(), max_attempts=1))
        world.add("b")
        await world.supervisor.start()
        service.starts = [AWAY] * 9
        service.fail(ValueError("lost"))
        with pytest.raises(RestartLimitError, match="'a' failed 2 times"):
            await world.supervisor.wait()
        await world.supervisor.stop()

    async def test_an_exited_dependency_is_not_run_again(self, world: World) -> None:
        world.add("migrate").end.set()
        await world.supervisor.start()
        await world.supervisor.wait()
        world.add("a", "migrate")
        await world.supervisor.start(["a"])
        assert world.log.count("start migrate") == 1
        await world.supervisor.start(["migrate"])
        assert world.log.count("start migrate") == 2
        await world.supervisor.stop()

    async def test_the_machine_clock_is_the_default(self) -> None:
        assert Supervisor().states() == {}


class TestStop:
    async def test_all_late_ones_are_named_and_the_rest_is_stopped(self, world: World) -> None:
        world.add("driver")
        world.add("a", "driver").stops = [StopTimeoutError("a: 1 handler was running", service="a")]
        world.add("b", "driver").stops = [HANG]
        await world.supervisor.start()
        with pytest.raises(StopTimeoutError) as caught:
            await world.supervisor.stop()
        assert "a: 1 handler was running; service 'b' did not stop within 10s" in str(caught.value)
        assert world.state("driver") == "stopped"
        assert world.now <= 16

    async def test_a_timeout_only_shortens(self, world: World) -> None:
        slow, fast = world.add("slow", stop_timeout=60), world.add("fast", stop_timeout=1)
        await world.supervisor.start()
        await world.supervisor.stop(5)
        assert (slow.stop_timeouts, fast.stop_timeouts) == ([5], [1])

    async def test_a_second_one_hurries_the_first(self, world: World) -> None:
        driver = world.add("driver")
        consumer = world.add("consumer", "driver")
        consumer.stops = [5]
        await world.supervisor.start()
        first = asyncio.ensure_future(world.supervisor.stop())
        await asyncio.sleep(1)
        await asyncio.gather(world.supervisor.stop(0), world.supervisor.stop(), world.supervisor.stop(1))
        await first
        assert consumer.stop_timeouts == [10, 0]
        assert driver.stop_timeouts == [0]

    async def test_a_cancelled_one_goes_on(self, world: World) -> None:
        world.add("a").stops = [3]
        await world.supervisor.start()
        stop = asyncio.ensure_future(world.supervisor.stop())
        await asyncio.sleep(1)
        stop.cancel()
        await asyncio.wait([stop])
        await world.supervisor.until(lambda states: states["a"] is State.STOPPED)

    async def test_a_service_may_stop_everything_itself(self, world: World) -> None:
        world.add("driver")
        consumer = world.add("consumer", "driver")

        async def wait() -> None:
            await world.supervisor.stop()

        consumer.wait = wait  # type: ignore[method-assign]
        await world.supervisor.start(["consumer"])
        await world.supervisor.until(lambda states: states["driver"] is State.STOPPED)


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


async def test_all_waiters_wake_and_a_cancelled_one_does_no_harm() -> None:
    changes = StateChanges()
    waiters = [asyncio.ensure_future(changes.next()) for _ in range(3)]
    await asyncio.sleep(0)
    waiters[1].cancel()
    changes.wake()
    await asyncio.gather(waiters[0], waiters[2])
    assert waiters[1].cancelled() or waiters[1].cancelling()
    await asyncio.wait(waiters)


LATE = StopTimeoutError("a is late", service="a")


LATE_TOO = StopTimeoutError("b is late", service="b")


BROKEN = LifecycleError("c is broken", service="c")


def test_none() -> None:
    assert join_errors([]) is None


def test_one_is_itself() -> None:
    assert join_errors([LATE]) is LATE


def test_only_late_ones_are_late_together() -> None:
    joined = join_errors([LATE, LATE_TOO])
    assert isinstance(joined, StopTimeoutError)
    assert str(joined) == "a is late; b is late"
    assert joined.service == "a, b"
    assert isinstance(joined.__cause__, ExceptionGroup)
    assert joined.__cause__.exceptions == (LATE, LATE_TOO)


def test_a_mixture_is_not_only_late() -> None:
    assert type(join_errors([LATE, BROKEN])) is LifecycleError


class BrokenController:
    needs_stop = True

    async def stop(self, timeout: float | None) -> None:
        raise ZeroDivisionError("a bug")


@pytest.mark.anyio
async def test_a_bug_in_one_stop_does_not_hold_up_the_others() -> None:
    errors = await Shutdown({}, {"a": BrokenController(), "b": BrokenController()}).run()  # type: ignore[dict-item]
    assert sorted(error.service for error in errors) == ["a", "b"]
    assert all(isinstance(error.__cause__, ZeroDivisionError) for error in errors)
