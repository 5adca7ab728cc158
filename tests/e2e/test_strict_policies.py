"""Strict projects: what no policy allows is denied."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasuki import App
from tasuki.contracts.driver import Outgoing
from tasuki.errors import LifecycleError, PolicyDeniedError, QueueNotFoundError
from tests.e2e.guarded import APPLICATION, SECURITY, STRICT, project

pytestmark = pytest.mark.anyio


async def test_strict_denies_by_default(tmp_path: Path) -> None:
    folder = project(tmp_path, security=SECURITY + STRICT)
    async with App.load(folder) as app:
        for name in ("app.queue:tasks", "app.queue:nowhere"):
            with pytest.raises(PolicyDeniedError, match=f"^not allowed to publish to queue: {name}$"):
                await app.publish(name, 1)
        with pytest.raises(PolicyDeniedError, match="not allowed: app:helper"):
            await app.call("app:helper", "x")
        with pytest.raises(PolicyDeniedError):
            await app.dead.redrive("app.queue:dead")
        queue = app._runtime.queue("app.queue:tasks")
        for forbidden in (queue.info, queue.depth, queue.peek, queue.purge):
            with pytest.raises(PolicyDeniedError):
                await forbidden()
        with pytest.raises(PolicyDeniedError):
            await queue.publish_many([1, 2])


async def test_the_application_may_have_an_actor_of_its_own(tmp_path: Path) -> None:
    folder = project(tmp_path, security=SECURITY + STRICT + APPLICATION)
    async with App.load(folder) as app:
        await app.publish("app.queue:tasks", 1)
        queue = app._runtime.queue("app.queue:tasks")
        await queue.publish_many([1, 2])
        assert (await queue.info())["ready"] == 3
        for forbidden in (queue.peek, queue.purge):
            with pytest.raises(PolicyDeniedError):
                await forbidden()
        with pytest.raises(QueueNotFoundError):
            await app.publish("app.queue:t_unknown", 1)
        with pytest.raises(PolicyDeniedError):
            await app.publish("app.queue:secret", 1)


async def test_a_consumer_without_an_actor_in_a_strict_project_does_not_start(tmp_path: Path) -> None:
    folder = project(tmp_path, security=SECURITY + STRICT)
    text = (folder / "work.yaml").read_text()
    (folder / "work.yaml").write_text(text[: text.index("      security:")])
    with pytest.raises(LifecycleError, match="nobody: there is no actor, and security is strict"):
        async with App.load(folder).worker():
            pass


async def test_strict_comes_from_the_environment_too(tmp_path: Path) -> None:
    security = SECURITY + STRICT.replace("true", "${env:STRICT|false}")
    folder = project(tmp_path, security=security)
    async with App.load(folder) as app:
        await app.publish("app.queue:tasks", 1)
    async with App.load(folder, environ={"STRICT": "true"}) as app:
        with pytest.raises(PolicyDeniedError):
            await app.publish("app.queue:tasks", 1)


async def test_redriving_needs_both_rights(tmp_path: Path) -> None:
    may = APPLICATION.replace("queue.info.queue", "queue.admin.redrive").replace(
        '"app.queue:t*"', '["app.queue:d*", "app.queue:secret"]'
    )
    deny = """\
  - name: not_secret
    kind: security.policy
    policy: {actions: queue.publish.*, resources: "app.queue:secret", effect: deny}
"""
    folder = project(tmp_path, security=SECURITY + STRICT + may.replace("[web]", "[web, not_secret]") + deny)
    async with App.load(folder) as app:
        assembly = app._runtime.live()
        for origin in ("app.queue:secret", "app.queue:dead"):
            await assembly.queue("app.queue:dead").forward([Outgoing(origin, b"1", {"x_original_queue": origin})])
        with pytest.raises(PolicyDeniedError, match="not allowed to publish"):
            await app.dead.redrive("app.queue:dead")
        assert (await assembly.queue("app.queue:secret").depth()).ready == 0
        assert (await assembly.queue("app.queue:dead").depth()).ready == 2
        with pytest.raises(PolicyDeniedError):
            await app.dead.redrive("app.queue:dead", to="app.queue:secret")
        with pytest.raises(PolicyDeniedError, match="not allowed to redrive"):
            await app.dead.redrive("app.queue:tasks")
