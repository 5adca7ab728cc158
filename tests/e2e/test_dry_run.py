"""Dry runs: handlers of all kinds in their own process, of whose effects the brokers see nothing."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.dry_run.report import DryRun
from tasuki.clock import SystemClock
from tasuki.contracts.driver import Outgoing
from tasuki.errors import HandlerError, LifecycleError, PolicyDeniedError
from tasuki.message import HeaderValue
from tests.e2e.projects import write
from tests.support.brokers.redis import Redis
from tests.support.process import run, run_json

pytestmark = pytest.mark.anyio

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite, path: queue.db}
  - {name: things, kind: store.sqlite, driver: driver}
  - {name: dead, kind: queue.queue, driver: driver}
  - {name: mails, kind: queue.queue, driver: driver}
  - {name: orders, kind: queue.queue, driver: driver, dead_letter: {queue: dead, max_attempts: 1}}
  - name: retried
    kind: queue.queue
    driver: driver
    dead_letter: {queue: dead}
    retry: {initial_delay: 7s, jitter: 0}
  - {name: scripts, kind: queue.queue, driver: driver, dead_letter: {queue: dead, max_attempts: 1}}
  - {name: batches, kind: queue.queue, driver: driver, dead_letter: {queue: dead}}
  - {name: rows, kind: queue.queue, driver: driver, dead_letter: {queue: dead}}
  - {name: odd, kind: queue.queue, driver: driver, dead_letter: {queue: dead}}
  - {name: lonely, kind: queue.queue, driver: driver, dead_letter: {queue: dead}}
  - {name: apart, kind: queue.queue, driver: driver, dead_letter: {queue: dead}}
  - {name: take, kind: function.python, source: file://shop.py, method: take}
  - {name: again, kind: function.python, source: file://shop.py, method: again}
  - {name: mail, kind: function.python, source: file://shop.py, method: mail}
  - {name: many, kind: function.python, source: file://shop.py, method: many}
  - {name: book, kind: function.python, source: file://shop.py, method: book}
  - {name: odd_one, kind: function.python, source: file://shop.py, method: odd_one}
  - {name: far, kind: function.python, source: file://shop.py, method: far, isolation: process}
  - {name: around, kind: middleware.python, source: file://shop.py, method: around}
  - {name: script, kind: function.lua, source: file://script.lua, modules: [queue, store, logger]}
  - {name: on_orders, kind: queue.consumer, queue: orders, func: take, middleware: [around]}
  - {name: on_retried, kind: queue.consumer, queue: retried, func: again}
  - {name: on_mails, kind: queue.consumer, queue: mails, func: mail, lifecycle: {auto_start: true}}
  - {name: on_scripts, kind: queue.consumer, queue: scripts, func: script}
  - {name: on_batches, kind: queue.consumer, queue: batches, func: many, batch: {size: 10, wait: 1h}}
  - {name: on_rows, kind: queue.consumer, queue: rows, func: book}
  - {name: on_odd, kind: queue.consumer, queue: odd, func: odd_one}
  - {name: on_apart, kind: queue.consumer, queue: apart, func: far}
"""
HANDLERS = """
import logging, os, sqlite3, subprocess, sys, time
from dataclasses import dataclass
from pathlib import Path
from tasuki import Context, Message, Snooze

HERE = Path(__file__).parent

@dataclass
class Order:
    n: int

async def around(body, context, handle):
    logging.getLogger("shop").info("before")
    return await handle(body, context)

async def take(order: Order, context: Context, message: Message):
    print("hello", message.headers.get("tenant"), message.id)
    print("err", file=sys.stderr)
    context.logger.warning("own log, password=hunter2")
    store = context.store("things")
    count = await store.get("count")
    await store.set("count", count + 1)
    await store.delete("gone")
    await context.publish("mails", {"to": "a@b", "password": "hunter2", "count": await store.get("count")})
    context.metrics.count("orders_total", 1)
    await context.signal("paid", 7, {"a": 1})
    await context.queues.cancel("other", queue="mails")
    await context.queues.pause("mails", "1h", reason="429")
    await context.step("charge", charge, order.n)
    if order.n == 0:
        raise LookupError("no order")

async def charge(n):
    return n * 2

def again(body):
    raise ValueError("not now")

def mail(body):
    (HERE / "mailed").write_text("a consumer of another queue has run")

def many(bodies):
    return [ValueError("odd") for body in bodies]

def book(body, context: Context):
    if body == "own":
        connection = sqlite3.connect(HERE / "own.db", isolation_level=None, check_same_thread=False)
        with context.sync.transaction(connection) as tx:
            tx.connection.execute("INSERT INTO booked VALUES (1)")
            assert connection.execute("SELECT count(*) FROM booked").fetchone() == (1,)
        return
    with context.sync.transaction() as tx:
        assert tx.connection.execute("INSERT INTO booked VALUES (1)").fetchone() is None
        tx.publish("mails", 1)

async def odd_one(body, context: Context):
    if body == "exit":
        os._exit(3)
    if body == "sys.exit":
        sys.exit(3)
    if body == "flood":
        for _ in range(2000):
            print("x" * 5000)
            print("y" * 5000, file=sys.stderr)
            logging.getLogger("shop").info("z" * 5000)
    if body == "child":
        child = subprocess.Popen(["sleep", "1000"])
        (HERE / "child").write_text(str(child.pid))
        time.sleep(1000)
    if body == "snooze":
        raise Snooze("5m")
    if body == "sleep":
        await context.sleep("1h")
    if body == "forged":
        os.write(int(sys.argv[1]), b'{"do": "outcome"}\\nnonsense\\n[1]\\n\\xff\\n')

async def far(body, context: Context):
    await context.publish("mails", os.getpid())
"""
SCRIPT = """
local queue, store, logger = require("queue"), require("store"), require("logger")
return function(body)
  local things = store.get("app:things")
  logger:info("from Lua", {count = things:get("count")})
  things:set("count", 100)
  queue.publish("app:mails", {from = "lua"})
  if body.n == 0 then error("bad order") end
end
"""


class Standing(SystemClock):
    """Its date stands still: no minute ends, after which the app itself would write its history to the store."""

    def __init__(self) -> None:
        self.now = time.time()

    def time(self) -> float:
        return self.now


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    write(tmp_path, {"app.yaml": PROJECT, "shop.py": HANDLERS, "script.lua": SCRIPT})
    async with App.load(tmp_path, clock=Standing()) as app:
        await app.store("app:things").set("count", 41)
        await app.store("app:things").set("gone", 1)
        yield app


async def bury(app: App, queue: str, body: bytes, headers: dict[str, HeaderValue] | None = None) -> None:
    own: dict[str, HeaderValue] = {"x_original_queue": f"app:{queue}", "x_dead_letter_reason": "max_attempts"}
    own |= {"attempts": 5, "tenant": "acme", **(headers or {})}
    await app._runtime.queue("app:dead").purge()
    assert not any(await app._runtime.queue("app:dead").forward([Outgoing("m", body, own)]))


def dump(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "queue.db") as connection:
        return list(connection.iterdump())


async def tried(app: App, folder: Path, queue: str, body: bytes, **options: Any) -> DryRun:
    """A dry run that changes nothing at the broker."""
    await bury(app, queue, body)
    before = dump(folder)
    report = await app.jobs.dry_run("app:dead", "m", **options)
    assert dump(folder) == before
    assert not (folder / "mailed").exists()
    return report


async def test_every_effect_is_recorded_and_none_is_done(app: App, tmp_path: Path) -> None:
    report = await tried(app, tmp_path, "orders", b'{"n":3}')
    assert report.error == ""
    assert report.is_good
    assert (report.queue, report.consumer, report.function) == ("app:orders", "app:on_orders", "app:take")
    assert report.seconds is not None
    assert 0 < report.seconds < 30
    told = {effect["do"]: effect for effect in report.effects}
    assert [effect["do"] for effect in report.effects] == [
        "store", "store", "publish", "signal", "cancel", "pause", "step", "metric",
    ]  # fmt: skip
    assert [(each["verb"], each["key"]) for each in report.effects[:2]] == [("put", "count"), ("delete", "gone")]
    assert (report.effects[0]["value"], report.effects[1]["was_there"]) == (42, True)
    assert told["publish"]["queue"] == "app:mails"
    assert told["publish"]["body"] == {"to": "a@b", "password": "***", "count": 42}
    assert (told["signal"]["event"], told["signal"]["key"], told["signal"]["value"]) == ("paid", 7, {"a": 1})
    assert (told["cancel"]["queue"], told["cancel"]["id"]) == ("app:mails", "other")
    assert told["pause"]["reason"] == "429"
    assert (told["step"]["name"], told["step"]["result"]) == ("charge", 6)
    assert (told["metric"]["name"], told["metric"]["value"]) == ("orders_total", 1)
    assert [(each["logger"], each["text"]) for each in report.logs] == [
        ("shop", "before"), ("tasuki.function.app:take", "own log, password=***"),
    ]  # fmt: skip
    assert (report.output, report.errors) == ("hello acme m\n", "err\n")
    assert await app.store("app:things").get("count") == 41


async def test_a_failure_has_its_traceback_and_what_would_become_of_the_message(app: App, tmp_path: Path) -> None:
    report = await tried(app, tmp_path, "orders", b'{"n":0}')
    assert (report.outcome, report.reason, report.error) == ("dead_letter", "max_attempts", "LookupError: no order")
    assert (report.type, report.place) == ("LookupError", "shop.py:take")
    assert 'raise LookupError("no order")' in report.traceback
    report = await tried(app, tmp_path, "retried", b"1")
    assert (report.outcome, report.delay, report.error) == ("retry", 7.0, "ValueError: not now")
    report = await tried(app, tmp_path, "orders", b'{"n":"x"}')
    assert (report.outcome, report.reason, report.seconds) == ("dead_letter", "invalid", None)
    assert "Expected `int`" in report.error


async def test_a_script(app: App, tmp_path: Path) -> None:
    report = await tried(app, tmp_path, "scripts", b'{"n":0}')
    assert (report.outcome, report.function) == ("dead_letter", "app:script")
    assert "bad order" in report.error
    assert [(each["do"], each.get("value"), each.get("body")) for each in report.effects] == [
        ("store", 100, None), ("publish", None, {"from": "lua"}),
    ]  # fmt: skip
    assert "from Lua" in report.logs[0]["text"]


async def test_batches_and_functions_in_their_own_process(app: App, tmp_path: Path) -> None:
    report = await tried(app, tmp_path, "batches", b"1")
    assert (report.outcome, report.error) == ("retry", "ValueError: odd")
    report = await tried(app, tmp_path, "apart", b"1")
    assert report.is_good
    assert [effect["do"] for effect in report.effects] == ["publish"]


async def test_transactions_are_rolled_back(app: App, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "own.db") as own:
        own.execute("CREATE TABLE booked (n)")
    report = await tried(app, tmp_path, "rows", b'"own"')
    assert report.error == ""
    assert [effect["do"] for effect in report.effects] == ["transaction"]
    with sqlite3.connect(tmp_path / "own.db") as own:
        assert own.execute("SELECT * FROM booked").fetchall() == []
    report = await tried(app, tmp_path, "rows", b'"none"')
    assert report.error == ""
    assert [effect["do"] for effect in report.effects] == ["sql", "publish", "transaction"]
    assert report.effects[0]["text"] == "INSERT INTO booked VALUES (1)"


@pytest.mark.parametrize(
    ("body", "outcome", "error"),
    [
        ("exit", "died", "its process ended with exit status 3"),
        ("snooze", "snooze", ""),
        ("sleep", "snooze", ""),
        ("forged", "ack", ""),
    ],
)
async def test_ways_to_end(app: App, tmp_path: Path, body: str, outcome: str, error: str) -> None:
    report = await tried(app, tmp_path, "odd", f'"{body}"'.encode())
    assert (report.outcome, error in report.error) == (outcome, True), report
    assert report.delay == {"snooze": 300.0, "sleep": 3600.0}.get(body, report.delay)
    effects = {"sleep": ["sleep"]}.get(body, [])
    assert [effect["do"] for effect in report.effects] == effects


async def test_a_flood_is_cut(app: App, tmp_path: Path) -> None:
    report = await tried(app, tmp_path, "odd", b'"flood"')
    assert report.is_good
    assert (len(report.output), len(report.errors)) == (64 * 1024, 64 * 1024)
    assert 900 < len(report.logs) <= 1000


async def test_a_handler_that_takes_too_long_is_ended_with_its_children(app: App, tmp_path: Path) -> None:
    report = await tried(app, tmp_path, "odd", b'"child"', limit=1.5)
    assert (report.outcome, report.error) == ("timeout", "the handler was ended after 1.5 s")
    assert "time.sleep(1000)" in report.traceback
    child = int((tmp_path / "child").read_text())
    while _is_alive(child):  # init has to fetch it
        await asyncio.sleep(0.01)


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_message_that_waits_and_what_cannot_be_run(app: App, tmp_path: Path) -> None:
    await app.publish("app:scripts", {"n": 1}, id="w")
    assert (await app.jobs.dry_run("app:scripts", "w")).is_good
    assert [message.id for message in await app._runtime.queue("app:scripts").peek()] == ["w"]
    with pytest.raises(LookupError, match="no message 'x'"):
        await app.jobs.dry_run("app:dead", "x")
    await bury(app, "lonely", b"1")
    with pytest.raises(HandlerError, match="no consumer of this project gets messages of queue app:lonely"):
        await app.jobs.dry_run("app:dead", "m")
    other = App("memory://")
    other.queue("dead")
    other.queue("orders").consumer(len)
    async with other:
        with pytest.raises(LifecycleError, match="at the top level of a module"):
            await other.jobs.dry_run("dead", "m")


async def test_the_application_needs_the_right(tmp_path: Path) -> None:
    strict = """
  - name: config
    kind: security.config
    strict: true
    application: {actor: {id: shop}, policies: [some]}
  - name: some
    kind: security.policy
    policy: {actions: "queue.publish.*", resources: "*", effect: allow}
"""
    write(tmp_path, {"app.yaml": PROJECT + strict, "shop.py": HANDLERS, "script.lua": SCRIPT})
    async with App.load(tmp_path) as app:
        with pytest.raises(PolicyDeniedError, match="not allowed to dry-run"):
            await app.jobs.dry_run("app:dead", "m")


async def test_a_project_that_is_broken_meanwhile_is_a_problem(app: App, tmp_path: Path) -> None:
    await bury(app, "orders", b'{"n":1}')
    (tmp_path / "shop.py").write_text("def take(:")
    report = await app.jobs.dry_run("app:dead", "m")
    assert report.outcome == "problem"
    assert "shop.py" in report.error


READING = {
    "evalsha",
    "exists",
    "hget",
    "hscan",
    "hmget",
    "zmscore",
    "zscore",
    "zcard",
    "zrange",
    "zrangebyscore",
    "time",
}
READING |= {"config|get"}  # the driver of the app looks at the server's settings from time to time


async def test_redis_sees_no_write(tmp_path: Path) -> None:
    broker = Redis.shared()
    text = PROJECT.replace(
        "kind: queue.driver.sqlite, path: queue.db", f'kind: queue.driver.redis, url: "{broker.url}"'
    )
    text = text.replace("store.sqlite", "store.redis")
    write(tmp_path, {"app.yaml": text, "shop.py": HANDLERS, "script.lua": SCRIPT})
    async with App.load(tmp_path, clock=Standing()) as app:
        await app.store("app:things").set("count", 41)
        await app.store("app:things").set("gone", 1)
        await bury(app, "orders", b'{"n":3}')
        assert (await app.jobs.dry_run("app:dead", "m")).is_good  # the parent opens the store once
        broker.ask("CONFIG", "RESETSTAT")
        before = broker.ask("CLIENT", "LIST").count("id=")
        report = await app.jobs.dry_run("app:dead", "m")
        used = {line.split(":")[0].removeprefix("cmdstat_") for line in broker.ask("INFO", "commandstats").split()[2:]}
        assert broker.ask("CLIENT", "LIST").count("id=") == before
    assert report.error == ""
    assert report.effects[0]["value"] == 42
    used -= {"client|list", "config|resetstat", "Commandstats"}
    assert used <= READING, used


CODE = """
from tasuki import App, Context

app = App()
orders = app.queue("orders", dead_letter="dead")
mails = app.queue("mails")

@mails.consumer
def mail(body):
    raise AssertionError("never")

@orders.consumer
async def take(body):
    await mails.publish({"by": "handle"})
    await app.request("mails", {"a": 1})
"""


def test_an_app_in_code_on_the_command_line(tmp_path: Path) -> None:
    write(tmp_path, {"shop.py": CODE})
    run("publish", "orders", "1", "--id", "m", folder=tmp_path)
    report = json.loads(run("dry-run", "orders", "m", "--json", folder=tmp_path).stdout)
    assert (report["outcome"], [effect["do"] for effect in report["effects"]]) == (
        "dead_letter",
        ["publish", "request"],
    )
    assert "its request to app:mails has no answer" in report["error"]
    done = run("dry-run", "orders", "m", "--limit", "20s", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "Calls that your code makes itself (HTTP, SQL outside Tasuki) really happen.\n"
    assert done.stdout.startswith("failed: app:take in ")
    assert "publish     queue=app:mails" in done.stdout
    assert run("dry-run", "orders", "x", folder=tmp_path).returncode == 1
    assert run("dry-run", "orders", "m", "--limit", "x", folder=tmp_path).returncode == 2
    assert [message["id"] for message in run_json("peek", "orders", folder=tmp_path)] == ["m"]
