"""Groups that handlers of YAML projects publish: async and plain, in their own processes, with their rights."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tasuki import App
from tasuki.message import Message
from tasuki.testing import RecordingContext
from tests.e2e.projects import write

pytestmark = pytest.mark.anyio

ASYNC = """
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tasuki import Context

def note(folder, what):
    with (Path(folder) / "notes").open("a") as file:
        file.write(what + "\\n")

async def part(body):
    return body["number"]

async def end(body, context: Context):
    note(context.message.headers["folder"], f"{context.message.id} {body}")

async def split(folder: str, context: Context):
    try:
        await context.group([{}], then="ends")
    except TypeError as error:
        note(folder, f"refused: {error}")
    when = datetime.now(UTC)
    members = [
        context.queues.message_to("parts", {"number": number}, {"of": 2}, at=when, ttl=timedelta(hours=1))
        for number in (0, 1)
    ]
    then = context.queues.message_to("ends", "as it is", {"folder": folder}, then=None)
    started = await context.group(members, then=then, on_error="ends", name="fan-out")
    await context.publish("parts", {"number": 2}, then=context.queues.message_to("ends", "chained", {"folder": folder}))
    if context.attempt < 3:
        raise ValueError("boom")
    note(folder, f"members {started.members}")
"""
PLAIN = (
    ASYNC.replace("async def split", "def split")
    .replace("await context.group", "context.sync.group")
    .replace("await context.publish", "context.sync.publish")
)
STEP = f"""{ASYNC.partition("async def split")[0]}
async def split(folder: str, context: Context):
    total = context.queues.message_to("ends", "the total", {{"folder": folder}})
    body = {{"number": 1}}
    first = await context.step("first", context.publish, "parts", body, id=f"{{context.message.id}}/first", then=total)
    if context.attempt < 3:
        raise ValueError("boom")
    note(folder, f"step {{first}}")
"""
PLAIN_STEP = (
    STEP.replace("async def split", "def split")
    .replace("await context.step", "context.sync.step")
    .replace("context.publish", "context.sync.publish")
)
PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: jobs, kind: queue.queue, driver: driver, retry: {initial_delay: 10ms}, dead_letter: {queue: dead}}
  - {name: parts, kind: queue.queue, driver: driver, dead_letter: {queue: dead}}
  - {name: ends, kind: queue.queue, driver: driver}
  - {name: dead, kind: queue.queue, driver: driver}
  - {name: split, kind: function.python, source: file://handler.py, method: split, ISOLATION}
  - {name: part, kind: function.python, source: file://handler.py, method: part}
  - {name: end, kind: function.python, source: file://handler.py, method: end}
  - {name: splitter, kind: queue.consumer, queue: jobs, func: split, lifecycle: {auto_start: true SECURITY}}
  - {name: parter, kind: queue.consumer, queue: parts, func: part, lifecycle: {auto_start: true}}
  - {name: ender, kind: queue.consumer, queue: ends, func: end, lifecycle: {auto_start: true}}
"""
POLICIES = """\
  - name: most
    kind: security.policy
    policy: {actions: "*", resources: "*", effect: allow}
  - name: no-ends
    kind: security.policy
    policy: {actions: queue.publish.queue, resources: "app:ends", effect: deny}
"""


async def noted(folder: Path, enough: Callable[[list[str]], bool]) -> list[str]:
    """The lines of the notes once there are enough."""
    async with asyncio.timeout(30):
        while not enough(lines := (folder / "notes").read_text().splitlines() if (folder / "notes").exists() else []):
            await asyncio.sleep(0.01)
    return lines


@pytest.mark.parametrize("isolation", ["none", "process"])
@pytest.mark.parametrize("handler", [ASYNC, PLAIN], ids=["async", "plain"])
async def test_a_group_of_a_function_elsewhere(handler: str, isolation: str, tmp_path: Path) -> None:
    option = "isolation: process" if isolation == "process" else "meta: {}"
    project = PROJECT.replace("ISOLATION", option).replace(" SECURITY", "")
    write(tmp_path, {"_index.yaml": project, "handler.py": handler})
    app = App.load(tmp_path)
    async with app.worker():
        job = await app.queue("app:jobs").publish(str(tmp_path))
        lines = await noted(tmp_path, lambda lines: sum(line.endswith("chained") for line in lines) == 3)
        group = f"app:jobs/{job.id}/fan-out"
        lines = await noted(tmp_path, lambda lines: f"group:{group} as it is" in lines)
    assert lines.count(f"group:{group} as it is") == 1, "a retry does not publish the group again"
    assert f"members ['{group}:0', '{group}:1']" in lines
    assert sum(line.startswith("refused: member 0 of the group is dict") for line in lines) == 3


@pytest.mark.parametrize("isolation", ["none", "process"])
@pytest.mark.parametrize("handler", [STEP, PLAIN_STEP], ids=["async", "plain"])
async def test_a_step_publishes_a_message_that_another_follows(handler: str, isolation: str, tmp_path: Path) -> None:
    option = "isolation: process" if isolation == "process" else "meta: {}"
    project = PROJECT.replace("ISOLATION", option).replace(" SECURITY", "")
    write(tmp_path, {"_index.yaml": project, "handler.py": handler})
    app = App.load(tmp_path)
    async with app.worker():
        job = await app.queue("app:jobs").publish(str(tmp_path))
        lines = await noted(tmp_path, lambda lines: len(lines) >= 2)
        for queue in ("app:jobs", "app:parts", "app:ends"):
            while (await app.queue(queue).info())["message_count"]:
                await asyncio.sleep(0.01)
        lines = await noted(tmp_path, bool)
    assert sorted(lines) == [f"group:{job.id}/first the total", f"step {job.id}/first"], "each once, in three attempts"


@pytest.mark.parametrize("isolation", ["none", "process"])
async def test_the_actor_of_the_handler_may_publish_all_of_it_or_nothing(isolation: str, tmp_path: Path) -> None:
    option = "isolation: process" if isolation == "process" else "meta: {}"
    security = ", security: {actor: {id: splitter}, policies: [most, no-ends]}"
    project = PROJECT.replace("ISOLATION", option).replace(" SECURITY", security) + POLICIES
    write(tmp_path, {"_index.yaml": project, "handler.py": ASYNC})
    app = App.load(tmp_path)
    async with app.worker():
        await app.queue("app:jobs").publish(str(tmp_path))
        async with asyncio.timeout(30):
            while not (await app.queue("app:dead").depth()).ready:
                await asyncio.sleep(0.01)
        for queue in ("app:parts", "app:ends"):
            assert not (await app.queue(queue).info())["message_count"]
        (dead,) = await app.queue("app:dead").peek()
    assert "not allowed to publish to queue: app:ends" in str(dead.headers["x_last_error"])


async def test_a_group_with_too_many_members_for_another_process_is_refused(tmp_path: Path) -> None:
    handler = ASYNC.replace("for number in (0, 1)", "for number in range(40_000)").replace(
        '    started = await context.group(members, then=then, on_error="ends", name="fan-out")',
        "    try:\n        started = await context.group(members, then=then)\n"
        "    except Exception as error:\n        note(folder, f'{error.kind}: {error}')\n        return",
    )
    project = PROJECT.replace("ISOLATION", "isolation: process").replace(" SECURITY", "")
    write(tmp_path, {"_index.yaml": project, "handler.py": handler})
    app = App.load(tmp_path)
    async with app.worker():
        await app.queue("app:jobs").publish(str(tmp_path))
        lines = await noted(tmp_path, lambda lines: len(lines) == 2)
    assert lines[1] == "Invalid: a value of more than 300000 parts cannot be passed to another process"


async def test_a_test_of_a_handler_sees_its_groups() -> None:
    context = RecordingContext(Message("7", b"", {}))
    started = await context.group(
        [context.queues.message_to("parts", 1, id="mine"), context.queues.message_to("parts", 2, delay="5s")],
        then="ends",
        name="fan-out",
    )
    (group,) = context.groups
    assert started.members == ["mine", f"{group.id}:1"]
    assert group.id == started.id == "app:queue/7/fan-out"
    assert [member["body"] for member in group.members] == [1, 2]
    assert (group.then, group.on_error, context.steps) == ("ends", None, {"fan-out": group.id})
    await context.publish("parts", 1, then=context.queues.message_to("ends", 3))
    assert context.published[0].options["then"].plain()["body"] == 3
