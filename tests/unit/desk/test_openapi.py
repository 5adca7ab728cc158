"""The OpenAPI document is valid, says what the API does, and the API keeps to it whatever it is asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from openapi_spec_validator import validate
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.openapi import from_url
from schemathesis.schemas import BaseSchema

from tasuki import App
from tasuki.clock import SystemClock
from tasuki.desk.acts.acts import ACTS
from tasuki.desk.api.openapi import document
from tasuki.desk.api.operations.table import OPERATIONS, Operation
from tasuki.desk.desk import Desk
from tasuki.desk.security.gate import Rate
from tasuki.desk.server import listen, serve
from tasuki.system.loop_thread import LoopThread

TOKEN = "t" * 30
KNOWN = {
    "queue": "app:mails",
    "id": "m-1",
    "consumer": "app:sender",
    "schedule": "app:hourly",
    "worker": "here:1",
    "batch": "b-1",
}
load_all_checks()
ignored_auth, positive_data_acceptance = CHECKS.get_by_names(["ignored_auth", "positive_data_acceptance"])
HEADERS = {"authorization": f"Bearer {TOKEN}"}


def test_the_document_is_valid_and_complete() -> None:
    found = document()
    validate(found)
    described = {(method.upper(), path) for path, methods in found["paths"].items() for method in methods}
    assert described == {(each.method, "/".join(("/api/v1", *each.path))) for each in OPERATIONS}
    assert len({each.name for each in OPERATIONS}) == len(OPERATIONS)
    for each in OPERATIONS:
        assert each.text, each.name


def test_each_act_of_the_api_has_a_right_that_the_document_names() -> None:
    for each in OPERATIONS:
        if each.method != "GET":
            assert each.right in ACTS, each.name
            assert f"`queue.admin.{each.right}`" in str(document()["paths"]), each.name


def test_a_mounted_desk_says_where_it_is() -> None:
    assert document("/desk")["servers"] == [{"url": "/desk"}]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a desk in a thread of this process, with an app in memory behind it."""
    listening, _ = listen("127.0.0.1:0")
    folder, is_ready = tmp_path_factory.mktemp("api"), threading.Event()
    thread = LoopThread("api", work=lambda: _serve(folder, listening, is_ready))
    thread.start()
    assert is_ready.wait(30)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    thread.stop()
    thread.join()


async def _serve(folder: Path, listening: object, is_ready: threading.Event) -> None:
    app = App("memory://", root=folder)
    mails = app.queue("mails", dead_letter={"queue": "dead", "max_attempts": 1})
    app.queue("images", limit="10/s")

    @mails.consumer(name="sender", lifecycle={"auto_start": False})
    async def send(mail: dict[str, Any]) -> None: ...

    @app.every("1h", queue="images", name="hourly")
    async def hourly() -> None: ...

    async with app:
        await app.publish("mails", {"to": "a"}, id="m-1")
        desk: Desk = app.desk(token=TOKEN)
        gate, clock = desk.tools.gate, SystemClock()
        gate._reads = gate._acts = gate._wrong = Rate(1e9, 10**9, clock)
        task = asyncio.create_task(serve(desk, listening))  # type: ignore[arg-type]
        is_ready.set()
        await task


@pytest.fixture(scope="module")
def api(address: str) -> BaseSchema:
    return from_url(f"{address}/openapi.json", headers=HEADERS)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_the_api_keeps_to_its_document(api: BaseSchema, operation: Operation, mode: GenerationMode) -> None:
    described = api["/".join(("/api/v1", *operation.path))][operation.method]

    @settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(described.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        case.headers.pop("Idempotency-Key", None)
        if mode is GenerationMode.POSITIVE and operation.method != "DELETE":
            case.path_parameters.update({name: KNOWN[name] for name in operation.names})
        response = case.call(headers=HEADERS)
        assume("got `float`" not in response.text)  # 1.0 is an integer to a schema, and none here
        # A schema does not know what a duration, a cursor or an expression is, nor what a queue's handlers read.
        problem = response.json() if response.status_code == 400 else None
        is_of_schema = (
            problem and problem["code"] != "not_valid" and problem["detail"].startswith(("body: ", "query: "))
        )
        is_meant = problem and not is_of_schema
        excluded = [ignored_auth, *([positive_data_acceptance] if is_meant else [])]
        case.validate_response(response, excluded_checks=excluded)  # type: ignore[arg-type]

    ask()
