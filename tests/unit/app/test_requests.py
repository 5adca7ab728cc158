"""``app.request``: publish, and wait for what the handler returns."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.flow.requests import is_reply_id, new_reply_id
from tasuki.clock import SystemClock
from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.errors import (
    BrokerUnavailableError,
    CodecError,
    DriverError,
    HandlerError,
    InvalidBodyError,
    PolicyDeniedError,
    PublishError,
    QueueNotFoundError,
    RequestTimeoutError,
    TasukiError,
    UnsupportedError,
)
from tests.unit.app.doubling import Make, double

pytestmark = pytest.mark.anyio

VIRTUAL_TIME = True


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
        inboxes = app._runtime.assembly.requests._own  # type: ignore[union-attr]
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


async def test_a_reply_that_is_too_large_says_so(make_app: Make) -> None:
    app = make_app()
    double(app, max_message_size="1KiB")
    async with app.worker():
        request = asyncio.create_task(app.request("tasks", {"sleep": 5}))
        await asyncio.sleep(1)
        inboxes = app._runtime.assembly.requests._own  # type: ignore[union-attr]
        (inbox,) = inboxes.values()
        (correlation_id,) = inbox._waiting
        large = Outgoing("large", b'"' + b"x" * 2000 + b'"', {"correlation_id": correlation_id})
        await inbox.queue.driver.publish(inbox.queue.spec.name, [large])
        with pytest.raises(InvalidBodyError, match=r"^the body of 2002 bytes is larger than 1024 bytes"):
            await request


async def test_no_reply_in_time(make_app: Make, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    seen = double(app)
    async with app.worker():
        with pytest.raises(RequestTimeoutError, match=r"'app:tasks': no reply within 2s") as caught:
            await app.request("tasks", {"sleep": 5}, reply_timeout="2s")
        assert isinstance(caught.value, TasukiError)
        assert isinstance(caught.value, TimeoutError)
        await asyncio.sleep(10)
        assert seen == [{"sleep": 5}]
        assert app._runtime.assembly.queues["app:tasks"].metrics.late_replies == 1  # type: ignore[union-attr]
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
        app._runtime.assembly.requests._clock = BehindClock()  # type: ignore[union-attr]
        assert await app.request("tasks", 21, reply_timeout=2) == 42


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
        signed, plain = app._runtime.assembly.requests._own.values()  # type: ignore[union-attr]
        assert plain.queue.signer is None
        waiting = asyncio.create_task(app.request("tasks", {"sleep": 9}))
        await asyncio.sleep(1)
        (correlation_id,) = signed._waiting
        forged = Outgoing("forged", b'"forged"', {"correlation_id": correlation_id})
        await signed.queue.driver.publish(signed.queue.spec.name, [forged])
        assert await waiting == 9
    assert len(seen) == 2
    assert any("was refused" in record.getMessage() for record in caplog.records)


async def test_a_reply_queue_that_cannot_be_made_at_once(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    seen = double(app)
    async with app.worker():
        driver = next(iter(app._runtime.assembly.drivers.values()))  # type: ignore[union-attr]
        declare = driver.declare
        errors: list[DriverError] = [BrokerUnavailableError("deadlock detected")]

        async def sometimes(spec: QueueSpec) -> None:
            if spec.name.startswith("reply.") and errors:
                raise errors.pop()
            await declare(spec)

        monkeypatch.setattr(driver, "declare", sometimes)
        assert await app.request("tasks", 1) == 2
        assert errors == []
        await app._runtime.assembly.requests.close(driver)  # type: ignore[union-attr]
        errors[:] = [BrokerUnavailableError("away", driver="d")] * 1000
        with pytest.raises(BrokerUnavailableError, match="away"):
            await app.request("tasks", 2, reply_timeout="3s")
        errors[:] = [UnsupportedError("never")]
        with pytest.raises(UnsupportedError, match="never"):
            await app.request("tasks", 3)
    assert seen == [1], "what could not be answered was not asked"


async def test_a_broker_that_is_away_for_a_while(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    double(app)
    async with app.worker():
        await app.request("tasks", 1)
        driver = next(iter(app._runtime.assembly.drivers.values()))  # type: ignore[union-attr]
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
            await app.request("app:tasks", [1], reply_to="app:answers", reply_timeout=5)
    forbidden = App.load(tmp_path, clock=clock, overrides=["app:may_reply:policy.effect=deny"])
    async with forbidden.worker():
        with pytest.raises(RequestTimeoutError):
            await forbidden.request("app:tasks", [1], reply_timeout=5)


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
            await app.request("app:tasks", 1, reply_timeout=1)
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
        assert app.sync.request("tasks", 21, reply_timeout=10) == 42
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
