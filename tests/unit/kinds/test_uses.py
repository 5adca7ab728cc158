"""What code publishes with is read from its source, without running it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tasuki import App
from tasuki.errors import ProjectError
from tasuki.kinds.check.uses import uses_in_lua, uses_in_python
from tasuki.kinds.entries.queue import QueueConfig

PYTHON = [
    ("m: Handle = app.queue('tasks', Task)\nm.publish(1, priority=5)", [("tasks", "priority")]),
    ("m = app.queue('tasks', Task)\napp.publish(m, 1, priority=5)", [("tasks", "priority")]),
    ("m = app.queue('tasks', Task)\napp.sync.request(m, 1, {'priority': 5})", [("tasks", "priority")]),
    ("m: Handle\napp.publish(m, 1, priority=5)", []),
    ("app.publish('a:tasks', 1, priority=5)", [("a:tasks", "priority")]),
    ("await app.request('tasks', 1, priority=n, delay='5s')", [("tasks", "delay"), ("tasks", "priority")]),
    ("tasks = app.queue('tasks')\nasync def f(): await tasks.publish(1, priority=n)", [("tasks", "priority")]),
    ("app.queue('tasks', max_length=5).publish(1, {'priority': 3})", [("tasks", "priority")]),
    ("context.publish('tasks', {'priority': 9}, {'priority': 1})", [("tasks", "priority")]),
    ("context.publish('tasks', 1, headers={'priority': 1})", [("tasks", "priority")]),
    ("app.publish('tasks', 1, connection=session)", [("tasks", "transactional")]),
    ("app.publish('tasks', body=1, priority=5)", [("tasks", "priority")]),
    ("app.publish(queue='tasks', body=1, priority=5)", [("tasks", "priority")]),
    ("app.publish(queue=name, body=1, priority=5)", []),
    ("shop.publish(title='tasks', body=1, priority=5)", []),
    ("app.publish('tasks', {'priority': 5})", []),
    ("tasks = app.queue('tasks')\ntasks.publish({'priority': 5})", []),
    ("app.publish('tasks', 1, priority=0, delay=None)", []),
    ("app.publish(name, 1, priority=5)", []),
    ("q = app.queue('a')\nq = app.queue('b')\nq.publish(1, priority=5)", []),
    ("shop.sell('tasks', 1, priority=5)", []),
    ("app.publish('tasks', 1, at=tomorrow)", [("tasks", "at")]),
    (
        "q = app.queue('tasks')\n@q.task\ndef f(): ...\nf.with_options(priority=5, delay='5s').publish()",
        [("tasks", "delay"), ("tasks", "priority")],
    ),
    (
        "q = app.queue('tasks')\n@q.task(name='g')\nasync def f(): ...\nf.with_options(headers={'priority': 5})",
        [("tasks", "priority")],
    ),
    ("q = app.queue('tasks')\n@q.task\ndef f(priority, delay): ...\nf.publish('tasks', 1, priority=5, delay=1)", []),
    ("@app.queue('tasks').task\ndef f(): ...\nf.with_options(priority=5)", []),
    ("this is no Python (", []),
]
LUA = [
    ("queue.publish('a:tasks', {id = 1}, nil, {priority = 5})", [("a:tasks", "priority")]),
    ('queue.publish("tasks", body, {\n  priority = n, x = f(1, {delay = 2})\n}, {delay="5s"})', ["priority", "delay"]),
    ("queue.publish('tasks', {priority = 5})", []),
    ("queue.publish('tasks', 1, {inner = {priority = 5}}, {})", []),
    ("-- queue.publish('tasks', 1, {}, {priority = 5})", []),
    ("local text = [[ queue.publish('tasks', 1, {}, {priority = 5}) ]]", []),
    ("queue.publish('a,(b', 1, {}, {priority = 5}) queue.publish(name, 1, {}, {priority = 5})", []),
    ("queue.publish('tasks', 1, {}, {priority == 5})", []),
    ("queue.publish('tasks', 1, {}, {priority = 5}", []),
]


@pytest.mark.parametrize(("text", "uses"), PYTHON)
def test_python(text: str, uses: list[tuple[str, str]]) -> None:
    names = {"transactional": "connection"}
    found = sorted((use.queue, use.option) for use in uses_in_python(text))
    assert found == [(queue, names.get(option, option)) for queue, option in uses]


@pytest.mark.parametrize(("text", "uses"), LUA)
def test_lua(text: str, uses: list[tuple[str, str] | str]) -> None:
    found = [(use.queue, use.option) for use in uses_in_lua(text)]
    assert found == [use if isinstance(use, tuple) else ("tasks", use) for use in uses]


YAML = """
namespace: app
entries:
  - {name: driver, kind: queue.driver.%s}
  - {name: tasks, kind: queue.queue, driver: driver}
  - name: send
    kind: function.lua
    modules: [queue]
    source: file://send.lua
"""
SEND = "local queue = require('queue')\nreturn function(n)\n  queue.publish('app:tasks', n, nil, {priority = 5})\nend\n"


def project(folder: Path, driver: str) -> App:
    (folder / "_index.yaml").write_text(YAML % driver)
    (folder / "send.lua").write_text(SEND)
    return App.load(folder)


@pytest.mark.parametrize("driver", ["memory", "sqlite", "nats", "amqp", "redis", "postgres"])
def test_a_queue_whose_publishers_use_priority_is_prepared_for_it(tmp_path: Path, driver: str) -> None:
    config = project(tmp_path, driver).check().configs["app:tasks"]
    assert isinstance(config, QueueConfig)
    assert config.requires == ["priority"]


def test_a_driver_that_cannot_do_it_is_refused_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        project(tmp_path, "sqs").check()
    (error,) = caught.value.errors
    assert error.entry == "app:tasks"
    assert error.problem.startswith(f"publish(…, priority=…) at {tmp_path / 'send.lua'}:3 needs a driver that can hand")
    assert "these can: amqp" in error.hint


DELAYS = [
    ("app.publish('tasks', 1, delay='1h30m')", 5400.0),
    ("app.publish('tasks', 1, delay=90)", 90.0),
    ("app.publish('tasks', 1, delay=n)", 0.0),
    ("app.publish('tasks', 1, delay='soon')", 0.0),
]
LUA_DELAYS = [
    ("queue.publish('tasks', 1, nil, {priority = 5, delay = '1h30m'})", 5400.0),
    ('queue.publish("tasks", 1, nil, { delay = 90; priority = 1 })', 90.0),
    ("queue.publish('tasks', 1, nil, {priority = f({delay = '9d'}), delay = \"5s\" })", 5.0),
    ("queue.publish('tasks', 1, nil, {delay = 90 * n})", 0.0),
    ("queue.publish('tasks', 1, nil, {delay = n})", 0.0),
]


@pytest.mark.parametrize(("text", "seconds"), DELAYS)
def test_delays_in_python(text: str, seconds: float) -> None:
    assert [use.seconds for use in uses_in_python(text) if use.option == "delay"] == [seconds]


@pytest.mark.parametrize(("text", "seconds"), LUA_DELAYS)
def test_delays_in_lua(text: str, seconds: float) -> None:
    assert [use.seconds for use in uses_in_lua(text) if use.option == "delay"] == [seconds]


@pytest.mark.parametrize(
    ("queue", "delay", "is_refused"),
    [
        ("ordering: key", "1m", True),
        ("ordering: key", "59s", False),
        ("dedup_window: 5m", "2m", True),
        ("queue_name: tasks.fifo", "1h", True),
        ("max_message_size: 1KiB", "1h", False),
    ],
)
def test_a_delay_that_the_retention_of_a_fifo_queue_would_not_outlive(
    tmp_path: Path, queue: str, delay: str, is_refused: bool
) -> None:
    yaml = YAML.replace("tasks, kind: queue.queue,", f"tasks, kind: queue.queue, {queue},")
    (tmp_path / "_index.yaml").write_text(yaml % "sqs, message_retention_period: 1m")
    (tmp_path / "send.lua").write_text(SEND.replace("priority = 5", f"delay = '{delay}'"))
    app = App.load(tmp_path)
    if not is_refused:
        app.check()
        return
    with pytest.raises(ProjectError) as caught:
        app.check()
    (error,) = caught.value.errors
    assert error.entry == "app:tasks"
    assert error.problem == (
        f"publish(…, delay=…) at {tmp_path / 'send.lua'}:3 is a delay of {delay}: SQS deletes messages of this FIFO "
        "queue 1m after they are sent (message_retention_period)"
    )


def test_an_app_in_code_is_read_where_it_was_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs_with_priority.py").write_text(
        textwrap.dedent("""
            from tasuki import App
            app = App("nats://localhost:1")
            tasks = app.queue("tasks")
            async def later(): await tasks.publish(1, priority=5)
            """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = App.load("jobs_with_priority:app").check().configs["app:tasks"]
    assert isinstance(config, QueueConfig)
    assert config.requires == ["priority"]


UNIQUE = [
    ("unique='k'", ["unique.pending"]),
    ("unique=key", ["unique.pending"]),
    ("unique='k', unique_for='running'", ["unique.running"]),
    ("unique='k', unique_for='10m', on_conflict='replace'", ["unique.window", "unique.replace"]),
    ("unique_for='pending', on_conflict='extend'", ["unique.pending", "unique.extend"]),
    ("unique='k', unique_for=span, on_conflict='keep'", []),
]


@pytest.mark.parametrize(("options", "needs"), UNIQUE)
def test_what_unique_messages_require(options: str, needs: list[str]) -> None:
    in_python = uses_in_python(f"app.publish('tasks', 1, {options})")
    in_lua = uses_in_lua(f"queue.publish('tasks', 1, nil, {{{options}}})")
    assert [use.requirement for use in in_python] == [use.requirement for use in in_lua] == needs


def test_a_unique_publish_in_code_is_refused_with_the_drivers_that_can(tmp_path: Path) -> None:
    app = project(tmp_path, "amqp")
    (tmp_path / "send.lua").write_text(SEND.replace("priority = 5", "unique = 'k'"))
    with pytest.raises(ProjectError) as caught:
        app.check()
    (error,) = caught.value.errors
    assert (
        f"publish(…, unique=…) at {tmp_path / 'send.lua'}:3 needs a driver that can keep one waiting" in error.problem
    )
    assert "redis" in error.hint
