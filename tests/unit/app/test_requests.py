"""``app.request``: publish, and wait for what the handler returns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki import App, Reject
from tasuki.app.request_reply.reply_queues import is_reply_id, new_reply_id
from tasuki.clock import SystemClock
from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.errors import (
    BrokerUnavailableError,
    CodecError,
    HandlerError,
    LifecycleError,
    PolicyDeniedError,
    PublishError,
    QueueNotFoundError,
    RequestTimeoutError,
    StopTimeoutError,
    TasukiError,
    UnsupportedError,
)

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

Make = Callable[..., App]


def double(app: App, name: str = "tasks", **fields: Any) -> list[Any]:
    """A queue with a consumer that doubles, and what it has seen."""
    seen: list[Any] = []
    tasks = app.queue(name, **fields)

    async def handle(body: Any) -> Any:
        seen.append(body)
        if isinstance(body, dict) and "sleep" in body:
            await asyncio.sleep(body["sleep"])
            return body["sleep"]
        if body == "bad":
            raise ValueError("bad")
        if body == "never":
            raise Reject("never")
        if body == "name":
            raise Reject("bad file \udcff")
        if body == "long":
            raise Reject("x" * 2_000_000)
        return body * 2

    handle.__name__ = f"handle_{name}"
    tasks.consumer(concurrency=4)(handle)
    return seen


async def test_the_result_comes_back(make_app: Make) -> None:
    app = make_app()
    double(app)
    async with app.worker():
        assert await app.request("tasks", 21) == 42
        assert await app.queue("tasks").request("ab", {"h": 1}, priority=3, key="k", delay=2) == "abab"


async def test_each_gets_its_own(make_app: Make) -> None:
    app = make_app()
    double(app)
    async with app.worker():
        waits = [{"sleep": wait} for wait in (3, 1, 2, 5)]
        results = await asyncio.gather(*(app.request("tasks", body) for body in waits))
        assert results == [3, 1, 2, 5]
        inboxes = app.assembly.requests._own  # type: ignore[union-attr]
        assert len(inboxes) == 1


async def test_the_error_of_the_handler_arrives(make_app: Make) -> None:
    app = make_app()
    double(app, dead_letter={"queue": "dead", "max_attempts": 2}, retry={"initial_delay": "1s"})
    async with app.worker():
        with pytest.raises(HandlerError, match="ValueError: bad") as caught:
            await app.request("tasks", "bad")
        assert (caught.value.kind, caught.value.retryable) == ("Internal", None)
        with pytest.raises(HandlerError, match="never") as caught:
            await app.request("tasks", "never")
        assert (caught.value.kind, caught.value.retryable) == ("Invalid", False)
        with pytest.raises(HandlerError, match=r"^bad file \?$"):
            await app.request("tasks", "name")
        with pytest.raises(HandlerError, match=r"^x{4096}$"):
            await app.request("tasks", "long")


async def test_no_reply_in_time(make_app: Make, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    seen = double(app)
    async with app.worker():
        with pytest.raises(RequestTimeoutError, match=r"'app:tasks': no reply within 2s") as caught:
            await app.request("tasks", {"sleep": 5}, timeout="2s")
        assert isinstance(caught.value, TasukiError)
        assert isinstance(caught.value, TimeoutError)
        await asyncio.sleep(10)
        assert seen == [{"sleep": 5}]
        assert app.assembly.queues["app:tasks"].metrics.late_replies == 1  # type: ignore[union-attr]
        assert "queue app:tasks: a reply came 3.0 s after its request had timed out" in caplog.text
        assert await app.request("tasks", 1) == 2


class BehindClock(SystemClock):
    """A clock that is an hour slow."""

    def time(self) -> float:
        return super().time() - 3600


async def test_the_clocks_of_requester_and_responder_need_not_agree(make_app: Make) -> None:
    app = make_app()
    double(app)
    async with app.worker():
        app.assembly.requests._clock = BehindClock()  # type: ignore[union-attr]
        assert await app.request("tasks", 21, timeout=2) == 42


def foreign_id(number: int) -> str:
    return f"reply:{number:032x}"


async def ask_as(app: App, number: int) -> None:
    """Publish a request as another process does, and wait until it is handled."""
    consumer = app.assembly.consumers["app:handle_tasks.consumer"]  # type: ignore[union-attr]
    before = consumer.metrics.acked
    await app.publish("tasks", number, {"reply_to": foreign_id(number), "correlation_id": "c"})
    while consumer.metrics.acked == before:
        await asyncio.sleep(0.01)


async def test_a_reply_never_makes_the_queue_of_a_requester_that_is_gone(
    make_app: Make, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    double(app)
    async with app.worker():
        driver: Any = next(iter(app.assembly.drivers.values()))  # type: ignore[union-attr]
        metrics = app.assembly.consumers["app:handle_tasks.consumer"].metrics  # type: ignore[union-attr]
        name = foreign_id(7).replace(":", ".")
        await driver.declare(QueueSpec(name, temporary=True))
        await ask_as(app, 7)
        assert (metrics.replied, metrics.requesters_gone) == (1, 0)
        await driver.delete(name)
        for number in (7, 7, 8):
            await ask_as(app, number)
        assert (metrics.replied, metrics.requesters_gone, metrics.result_errors) == (1, 3, 0)
        assert [queue for queue in driver._queues if queue.startswith("reply.")] == []
        assert f"no reply to '{foreign_id(8)}': its requester is gone" in caplog.text


async def test_a_responder_remembers_few_requesters(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    double(app)
    async with app.worker():
        driver: Any = next(iter(app.assembly.drivers.values()))  # type: ignore[union-attr]
        known: set[str] = set()
        inspect, undeclare = driver.inspect, driver.undeclare

        async def note_inspect(spec: QueueSpec) -> QueueSpec:
            known.add(spec.name)
            return await inspect(spec)  # type: ignore[no-any-return]

        async def note_undeclare(queue: str) -> None:
            known.remove(queue)
            await undeclare(queue)

        monkeypatch.setattr(driver, "inspect", note_inspect)
        monkeypatch.setattr(driver, "undeclare", note_undeclare)
        for number in range(300):
            await driver.declare(QueueSpec(foreign_id(number).replace(":", "."), temporary=True))
            await ask_as(app, number)
        assert len(known) == len(app.assembly.reply_queues._known) == 100  # type: ignore[union-attr]
        metrics = app.assembly.consumers["app:handle_tasks.consumer"].metrics  # type: ignore[union-attr]
        assert (metrics.replied, metrics.requesters_gone) == (300, 0)


async def test_a_reply_that_no_process_takes_is_removed_from_a_declared_queue(make_app: Make) -> None:
    app = make_app()
    double(app)
    answers = app.queue("answers")
    async with app.worker():
        await answers.publish("for a process that is gone", {"correlation_id": "theirs"})
        assert await app.request("tasks", {"sleep": 400}, reply_to="answers", timeout=500) == 400
        assert await answers.peek() == []


async def test_the_reply_queue_goes_with_the_app(make_app: Make) -> None:
    app = make_app()
    double(app)
    await app.start()
    driver = next(iter(app.assembly.drivers.values()))  # type: ignore[union-attr]
    await app.request("tasks", 1)
    assert [name for name in driver._queues if name.startswith("reply.")]  # type: ignore[attr-defined]
    waiting = asyncio.create_task(app.request("tasks", {"sleep": 50}))
    await asyncio.sleep(1)
    with pytest.raises(StopTimeoutError):
        await app.close(0)
    with pytest.raises(LifecycleError, match="closed while it waited"):
        await waiting
    assert [name for name in driver._queues if name.startswith("reply.")] == []  # type: ignore[attr-defined]
    with pytest.raises(LifecycleError):
        await app.request("tasks", 1)


async def test_a_driver_that_cannot_delete_is_purged(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    double(app)
    await app.start()
    driver = next(iter(app.assembly.drivers.values()))  # type: ignore[union-attr]
    purged: list[str] = []

    async def delete(queue: str) -> None:
        raise UnsupportedError("no")

    async def purge(queue: str) -> int:
        purged.append(queue)
        return 0

    monkeypatch.setattr(driver, "delete", delete)
    monkeypatch.setattr(driver, "purge", purge)
    await app.request("tasks", 1)
    await app.close(0)
    assert len(purged) == 1
    assert purged[0].startswith("reply.")


async def test_an_app_opens_again_with_a_reply_queue_of_its_own(make_app: Make) -> None:
    app = make_app()
    double(app)
    for _ in range(2):
        async with app.worker():
            assert await app.request("tasks", 1) == 2


async def test_a_declared_reply_queue(make_app: Make) -> None:
    app = make_app()
    double(app)
    app.queue("answers", max_length=5)
    async with app.worker():
        assert await app.request("tasks", 4, reply_to="answers") == 8
        assert await asyncio.gather(*(app.request("tasks", n, reply_to="answers") for n in range(5))) == [0, 2, 4, 6, 8]
        with pytest.raises(QueueNotFoundError):
            await app.request("tasks", 4, reply_to="nowhere")


async def test_what_is_for_others_in_a_declared_reply_queue_stays_for_them(make_app: Make) -> None:
    app = make_app()
    double(app)
    answers = app.queue("answers")
    async with app.worker():
        await answers.publish("for somebody else", {"correlation_id": "theirs"})
        assert await app.request("tasks", 4, reply_to="answers") == 8
        await asyncio.sleep(1)
        (left,) = await answers.peek()
        assert left.headers["correlation_id"] == "theirs"


@pytest.mark.parametrize("headers", [{"reply_to": "app:tasks"}, {"correlation_id": "x"}])
async def test_the_headers_of_a_request_are_its_own(make_app: Make, headers: Any) -> None:
    app = make_app()
    double(app)
    async with app.worker():
        with pytest.raises(PublishError, match="is set by the request itself"):
            await app.request("tasks", 1, headers)


async def test_what_cannot_be_published_is_told_at_once(make_app: Make) -> None:
    app = make_app()
    double(app)
    async with app.worker():
        with pytest.raises(CodecError):
            await app.request("tasks", object())
        with pytest.raises(QueueNotFoundError):
            await app.request("nowhere", 1)


async def test_signed_requests_have_signed_replies(make_app: Make, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    seen = double(app, signing={"keys": [{"id": "k", "secret": "0123456789abcdef"}]})
    double(app, "plain")
    async with app.worker():
        assert await app.request("tasks", 1) == 2
        assert await app.request("plain", 2) == 4
        signed, plain = app.assembly.requests._own.values()  # type: ignore[union-attr]
        assert plain.queue.signer is None
        waiting = asyncio.create_task(app.request("tasks", {"sleep": 9}))
        await asyncio.sleep(1)
        (correlation_id,) = signed._waiting
        forged = Outgoing("forged", b'"forged"', {"correlation_id": correlation_id})
        await signed.queue.driver.publish(signed.queue.spec.name, [forged])
        assert await waiting == 9
    assert len(seen) == 2
    assert any("was refused" in record.getMessage() for record in caplog.records)


async def test_a_reload_makes_no_more_reply_queues(tmp_path: Path) -> None:
    keys = "signing: {keys: [{id: k, secret: 0123456789abcdef}]}"
    (tmp_path / "h.py").write_text("async def main(body):\n    return body\n")
    head = "version: '1.0'\nnamespace: app\nentries:\n  - {name: d, kind: queue.driver.memory}\n"
    tail = """
  - {name: h, kind: function.python, source: file://h.py, method: main}
  - {name: c, kind: queue.consumer, queue: tasks, func: h, lifecycle: {auto_start: true}}
"""
    file = tmp_path / "_index.yaml"
    file.write_text(f"{head}  - {{name: tasks, kind: queue.queue, driver: d, {keys}}}{tail}")
    app = App.load(tmp_path)
    async with app.worker():
        assert await app.request("app:tasks", 1) == 1
        file.write_text(f"{head}  - {{name: tasks, kind: queue.queue, driver: d, lease: 9s, {keys}}}{tail}")
        assert (await app.reload()).affected
        assert await app.request("app:tasks", 2) == 2
        assert len(app.assembly.requests._own) == 1  # type: ignore[union-attr]


async def test_a_reply_queue_that_cannot_be_made_at_once(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    seen = double(app)
    async with app.worker():
        driver = next(iter(app.assembly.drivers.values()))  # type: ignore[union-attr]
        declare, errors = driver.declare, [BrokerUnavailableError("deadlock detected")]

        async def sometimes(spec: QueueSpec) -> None:
            if spec.name.startswith("reply.") and errors:
                raise errors.pop()
            await declare(spec)

        monkeypatch.setattr(driver, "declare", sometimes)
        assert await app.request("tasks", 1) == 2
        assert errors == []
        await app.assembly.requests.close(driver)  # type: ignore[union-attr]
        errors[:] = [BrokerUnavailableError("away", driver="d")] * 1000
        with pytest.raises(BrokerUnavailableError, match="away"):
            await app.request("tasks", 2, timeout="3s")
        errors[:] = [UnsupportedError("never")]
        with pytest.raises(UnsupportedError, match="never"):
            await app.request("tasks", 3)
    assert seen == [1], "what could not be answered was not asked"


async def test_a_broker_that_is_away_for_a_while(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    double(app)
    async with app.worker():
        await app.request("tasks", 1)
        driver = next(iter(app.assembly.drivers.values()))  # type: ignore[union-attr]
        receive = driver.receive
        errors: list[Exception] = [
            RuntimeError("a defect"),
            BrokerUnavailableError("away"),
            QueueNotFoundError("gone"),
            QueueNotFoundError("gone"),
        ]

        async def sometimes(queue: str, limit: int, wait: float) -> Any:
            if queue.startswith("reply.") and errors:
                raise errors.pop()
            return await receive(queue, limit, wait)

        monkeypatch.setattr(driver, "receive", sometimes)
        for number in range(3):
            assert await app.request("tasks", number) == number * 2
        assert errors == []


async def test_policies_decide_about_replies(tmp_path: Path, yaml: Any) -> None:
    (tmp_path / "_index.yaml").write_text("""
namespace: app
entries:
  - {name: memory, kind: queue.driver.memory}
  - {name: tasks, kind: queue.queue, driver: memory}
  - {name: answers, kind: queue.queue, driver: memory}
  - {name: echo, kind: function.lua, source: "return function(body) return {got = body} end"}
  - name: consumer
    kind: queue.consumer
    queue: tasks
    func: echo
    lifecycle:
      auto_start: true
      security: {actor: {id: worker}, policies: [may_consume, may_reply]}
  - name: may_consume
    kind: security.policy
    policy: {actions: [queue.consume.queue, queue.publish], resources: "*", effect: allow}
  - name: may_reply
    kind: security.policy
    policy: {actions: queue.publish.queue, resources: ["reply:*"], effect: allow}
""")
    clock = asyncio.get_running_loop().clock  # type: ignore[attr-defined]
    app = App.load(tmp_path, clock=clock)
    async with app.worker():
        assert await app.request("app:tasks", [1]) == {"got": [1]}
        with pytest.raises(RequestTimeoutError):
            await app.request("app:tasks", [1], reply_to="app:answers", timeout=5)
    forbidden = App.load(tmp_path, clock=clock, overrides=["app:may_reply:policy.effect=deny"])
    async with forbidden.worker():
        with pytest.raises(RequestTimeoutError):
            await forbidden.request("app:tasks", [1], timeout=5)


RIGHTS = """
namespace: app
entries:
  - {name: memory, kind: queue.driver.memory}
  - {name: tasks, kind: queue.queue, driver: memory}
  - {name: answers, kind: queue.queue, driver: memory}
  - {name: security, kind: security.config, application: {actor: {id: web}, policies: [may_publish, may_consume]}}
  - name: may_publish
    kind: security.policy
    policy: {actions: [queue.publish, queue.publish.queue], resources: "RESOURCES", effect: allow}
  - name: may_consume
    kind: security.policy
    policy: {actions: queue.consume.queue, resources: "*", effect: allow}
"""


async def test_the_application_needs_its_rights(tmp_path: Path) -> None:
    text = RIGHTS.replace("RESOURCES", "app:tasks").replace("  - name: may_consume", "  - name: unused")
    (tmp_path / "_index.yaml").write_text(text.replace(", may_consume", ""))
    app = App.load(tmp_path, clock=asyncio.get_running_loop().clock)  # type: ignore[attr-defined]
    async with app:
        with pytest.raises(PolicyDeniedError, match="consume"):
            await app.request("app:tasks", 1, reply_to="app:answers")
        with pytest.raises(PolicyDeniedError, match="publish to queue: app:answers"):
            await app.publish("app:tasks", 1, {"reply_to": "answers"})
        with pytest.raises(RequestTimeoutError):
            await app.request("app:tasks", 1, timeout=1)
    overrides = ["app:may_publish:policy.actions=queue.*", "app:may_publish:policy.resources=app:answers"]
    app = App.load(tmp_path, clock=asyncio.get_running_loop().clock, overrides=overrides)  # type: ignore[attr-defined]
    async with app:
        with pytest.raises(PolicyDeniedError, match="publish to queue: app:tasks"):
            await app.request("app:tasks", 1)


async def test_a_reply_to_a_declared_queue_is_a_publish_of_its_asker(tmp_path: Path) -> None:
    (tmp_path / "_index.yaml").write_text(RIGHTS.replace("RESOURCES", "app:tasks"))
    app = App.load(tmp_path, clock=asyncio.get_running_loop().clock)  # type: ignore[attr-defined]
    async with app:
        with pytest.raises(PolicyDeniedError, match="publish to queue: app:answers"):
            await app.request("app:tasks", 1, reply_to="app:answers")


def test_from_code_without_a_loop(tmp_path: Path) -> None:
    app = App("memory://", root=tmp_path)
    double(app)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(app.start(), loop).result(10)
        assert app.sync.request("tasks", 21, timeout=10) == 42
        asyncio.run_coroutine_threadsafe(app.close(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_ids_of_reply_queues() -> None:
    assert is_reply_id(new_reply_id())
    assert new_reply_id() != new_reply_id()
    for name in (
        "reply:x",
        "reply:" + "g" * 32,
        "app:" + "0" * 32,
        "reply:" + "0" * 32 + "\n",
        "reply:" + "\u0660" * 32,
    ):
        assert not is_reply_id(name)
