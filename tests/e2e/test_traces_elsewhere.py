"""Traces where OpenTelemetry is not installed, in their own processes, and over groups."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tasuki import App
from tests.e2e.projects import write
from tests.support.process import TIMEOUT, environ
from tests.support.recorded import Recorded, id_of, parent_of, trace_of, traceparent_of

pytestmark = pytest.mark.anyio

PARENT = f"00-{'4b' * 16}-{'0a' * 8}-01"

WITHOUT = f"""
import asyncio, sys
for name in ("opentelemetry", "opentelemetry.trace"):
    sys.modules[name] = None  # as if it were not installed

from tasuki import App, Context
from tasuki.errors import UnsupportedError

app = App("memory://")
jobs, end = app.queue("jobs"), app.queue("end")

@jobs.consumer
async def handle(body: str, context: Context) -> None:
    await end.publish(body)

async def main() -> None:
    async with app.worker():
        await jobs.publish("x", {{"traceparent": "{PARENT}", "tracestate": "a=1"}})
        while not (found := await end.peek()):
            await asyncio.sleep(0.01)
    print(found[0].headers["traceparent"], found[0].headers["tracestate"])
    app.traces()
    try:
        await app.open()
    except UnsupportedError as error:
        print(error)

asyncio.run(main())
"""

UNASKED = """
import asyncio, sys
from tasuki import App

app = App("memory://")
jobs = app.queue("jobs")

@jobs.consumer
async def handle(body: str) -> None:
    return None

async def main() -> None:
    async with app.worker():
        await jobs.publish("x", {"traceparent": "PARENT"})
    print([name for name in sys.modules if name.startswith("opentelemetry")])

asyncio.run(main())
""".replace("PARENT", PARENT)

ISOLATED = """
from opentelemetry import trace

from tasuki import Context

async def handle(body: str, context: Context) -> None:
    own = trace.get_current_span().get_span_context()
    await context.publish("app:end", [context.trace, f"{own.trace_id:032x}", f"{own.span_id:016x}"])

def plain(body: str, context: Context):
    own = trace.get_current_span().get_span_context()
    return context.publish("app:end", [context.trace, f"{own.trace_id:032x}", f"{own.span_id:016x}"])
"""
PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: start, kind: queue.queue, driver: driver}
  - {name: end, kind: queue.queue, driver: driver}
  - {name: handle, kind: function.python, source: file://handler.py, method: METHOD, isolation: process}
  - {name: worker, kind: queue.consumer, queue: start, func: handle, lifecycle: {auto_start: true}}
"""


def output(code: str) -> list[str]:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=environ())
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_an_app_that_does_not_ask_for_traces_imports_nothing_for_them() -> None:
    assert output(UNASKED) == ["[]"]


def test_without_opentelemetry_headers_are_handed_on_and_asking_for_spans_says_what_to_install() -> None:
    handed_on, refused = output(WITHOUT)
    assert handed_on == f"{PARENT} a=1"
    assert refused.startswith("'app:traces' asks for traces: ")
    assert refused.endswith("; pip install 'tasuki[traces]'")


@pytest.mark.parametrize("method", ["handle", "plain"])
async def test_a_process_of_its_own_knows_the_span_of_its_message(method: str, tmp_path: Path) -> None:
    recorded = Recorded()
    app = App.load(write(tmp_path, {"handler.py": ISOLATED, "_index.yaml": PROJECT.replace("METHOD", method)}))
    app.traces(recorded.provider)
    async with app.worker():
        await app.publish("app:start", "x", {"traceparent": PARENT})
        await recorded.until("settle app:start")
        [message] = await app.queue("app:end").peek()
        seen = app._runtime.queue("app:end").decode(message)

    process, send = recorded.one("process app:start"), recorded.one("send app:end")
    assert seen == [traceparent_of(process), "4b" * 16, id_of(process)]
    assert parent_of(send) == id_of(process)
    assert message.headers["traceparent"] == traceparent_of(send)


async def test_a_group_and_what_follows_it() -> None:
    recorded = Recorded()
    app = App("memory://")
    app.traces(recorded.provider)
    jobs, total = app.queue("jobs"), app.queue("total")

    @jobs.consumer
    async def handle(body: int) -> int:
        return body

    @total.consumer
    async def add(results: list[int]) -> None:
        return None

    async with app.worker():
        with recorded.provider.get_tracer("web").start_as_current_span("POST /"):
            await app.group([jobs.message(1), jobs.message(2)], then=total)
        await recorded.until("process app:total")

    root, follows = recorded.one("POST /"), recorded.one("send app:total")
    assert {trace_of(span) for span in recorded.spans if "settle" not in span.name} == {trace_of(root)}
    assert parent_of(follows) in {id_of(span) for span in recorded.named("process app:jobs")}
