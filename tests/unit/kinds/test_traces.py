from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.errors import ProjectError, UnsupportedError
from tasuki.kinds.entries.telemetry import TracesConfig
from tasuki.tracing.rules import TraceOptions
from tests.e2e.projects import write
from tests.support.recorded import Recorded


def project(folder: Path, *lines: str) -> App:
    text = "namespace: app\nentries:\n  - {name: driver, kind: queue.driver.memory}\n"
    return App.load(write(folder, {"_index.yaml": text + "".join(f"  - {line}\n" for line in lines)}))


def test_the_fields_are_the_options() -> None:
    fields = {"sample": 0.01, "attach": True, "create": True, "receive": True, "baggage": True, "process": "link"}

    assert TracesConfig().options() == TraceOptions()
    assert TracesConfig.model_validate(fields).options() == TraceOptions(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("sample: 1.5", "sample must be at most 1"),
        ("sample: -0.1", "sample must be at least 0"),
        ("sample: .nan", "sample"),
        ("process: parent", "process"),
        ("ratio: 0.5", "did you mean 'sample'?"),
    ],
)
def test_a_field_that_cannot_be_is_refused(field: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        project(tmp_path, f"{{name: t, kind: traces.config, {field}}}").check()

    assert problem in str(caught.value)


def test_a_project_has_one_such_entry(tmp_path: Path) -> None:
    app = project(tmp_path, "{name: a, kind: traces.config}", "{name: b, kind: traces.config, sample: 0.1}")

    with pytest.raises(ProjectError, match=r"app:b: a project has at most one traces.config, and 'app:a' is the first"):
        app.check()


@pytest.mark.anyio
async def test_a_project_in_yaml_has_traces_too(tmp_path: Path) -> None:
    app = project(
        tmp_path,
        "{name: q, kind: queue.queue, driver: driver}",
        "{name: t, kind: traces.config, sample: 0}",
    )
    async with app:
        await app.publish("app:q", 1)
        [message] = await app.queue("app:q").peek()

    assert str(message.headers["traceparent"]).endswith("-00")


@pytest.mark.anyio
async def test_a_provider_makes_tracers() -> None:
    app = App("memory://")
    app.traces(object())

    with pytest.raises(UnsupportedError, match="a tracer provider has get_tracer, and object has not"):
        await app.open()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("redis://user:secret@cache.example:6400/2", ("cache.example", 6400)),
        ("nats://a.example:4223,nats://b.example:4222", ("a.example", 4223)),
        ("amqp://guest:secret@rabbit.example/", ("rabbit.example", 5672)),
        ("postgresql://user:secret@db.example/app", ("db.example", 5432)),
    ],
)
async def test_the_server_is_named_without_secrets(url: str, server: tuple[str, int]) -> None:
    app = App(url)
    app.queue("q")
    app.traces(Recorded().provider)
    project: Any = app.check()
    from tasuki.kinds.tracing import _broker_of

    class Known:
        class driver:
            name = project.configs["app:q"].driver

    kind, found = _broker_of(project, Known())  # type: ignore[arg-type]
    assert found == server
    assert "secret" not in f"{kind} {found}"
