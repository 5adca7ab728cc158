"""``consumer_count`` follows the presence of workers over processes, clean stops and kills, on each driver."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tasuki import App
from tasuki.state.worker_record import TTL
from tests.e2e.test_pausing import WITH_STORES, Fleet
from tests.support.brokers.everywhere import DRIVERS, overrides
from tests.support.process import TIMEOUT, run, wait_until


@pytest.mark.parametrize("driver", WITH_STORES)
def test_all_processes_are_counted_until_they_stop_or_die(driver: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        fleet = Fleet(driver, tmp_path, stack)
        stops, dies = fleet.worker(), fleet.worker()
        wait_until(lambda: fleet.info()["consumer_count"] == 2, "both workers")
        stops.send(signal.SIGTERM)
        assert stops.wait() == 0, stops.output
        assert fleet.info()["consumer_count"] == 1, "a clean stop takes the entry away"
        dies.kill()
        wait_until(lambda: fleet.info()["consumer_count"] == 0, "the end of the killed worker", timeout=TTL + TIMEOUT)


@pytest.mark.parametrize("driver", WITH_STORES)
def test_queues_with_messages_and_no_worker_are_named(driver: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        fleet = Fleet(driver, tmp_path, stack)
        fleet.publish(1)

        def waiting() -> list[str]:
            done = run("queues", "--json", *fleet.options, folder=fleet.folder)
            return [row["queue"] for row in json.loads(done.stdout) if "waits_for_worker" in row]

        assert waiting() == ["app:tasks"]
        fleet.worker()
        wait_until(lambda: fleet.info()["consumer_count"] == 1, "the worker")
        assert waiting() == []


@pytest.mark.parametrize("driver", [driver for driver in DRIVERS if driver in ("amqp", "sqs")])
def test_without_a_store_a_process_knows_its_own_consumers_only(driver: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        fleet = Fleet(driver, tmp_path, stack)
        fleet.worker()
        assert fleet.info()["consumer_count"] is None, "no store tells"

        async def consume() -> object:
            async with App.load(fleet.folder, overrides=fleet.changes).worker() as app:
                return (await app._runtime.queue("tasks").info())["consumer_count"]

        assert asyncio.run(consume()) == 1


@pytest.mark.parametrize("driver", [driver for driver in DRIVERS if driver in ("amqp", "sqs")])
def test_a_named_state_counts_for_a_driver_without_a_store(driver: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        fleet = Fleet(driver, tmp_path, stack)
        (fleet.folder / "state.yaml").write_text(STATE.format(path=tmp_path / "state.db"))
        fleet.changes.append("app:driver:state=app:state")
        fleet.options.append("--override=app:driver:state=app:state")
        worker = fleet.worker()
        wait_until(lambda: fleet.info()["consumer_count"] == 1, "the worker")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output
        assert fleet.info()["consumer_count"] == 0


@pytest.mark.parametrize("driver", [driver for driver in DRIVERS if driver in ("amqp", "sqs")])
def test_a_queue_of_one_name_on_another_driver_is_not_counted(driver: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        fleet = Fleet(driver, tmp_path, stack)
        (fleet.folder / "state.yaml").write_text(STATE.format(path=tmp_path / "state.db") + SECOND)
        fleet.changes += ["app:driver:state=app:state", "app:second:state=app:state"]
        fleet.changes += overrides("sqs" if driver == "amqp" else "amqp", "app:second", tmp_path)
        (name,) = [change.partition("=")[2] for change in fleet.changes if change.startswith("app:tasks:queue_name=")]
        fleet.changes.append(f"app:others:queue_name={name}")
        fleet.options[:] = [f"--override={change}" for change in fleet.changes]
        fleet.worker()
        wait_until(lambda: fleet.info()["consumer_count"] == 1, "the worker")
        done = run("info", "app:others", "--json", *fleet.options, folder=fleet.folder)
        assert json.loads(done.stdout)["consumer_count"] == 0, done.stderr


STATE = """
namespace: app
entries:
  - {{name: files, kind: queue.driver.sqlite, path: {path}}}
  - {{name: state, kind: store.sqlite, driver: files}}
"""
SECOND = """
  - {name: second, kind: queue.driver.memory}
  - {name: others, kind: queue.queue, driver: second}
"""
