from __future__ import annotations

from typing import Any

import pytest

from tasuki import App
from tasuki.app.declare import Declarations, driver_of_url, name_of
from tasuki.drivers import Memory, Redis
from tasuki.errors import InvalidEntryError, ProjectError


@pytest.mark.parametrize(
    ("url", "kind", "fields"),
    [
        ("memory://", "memory", {}),
        ("sqlite://", "sqlite", {}),
        ("sqlite:///queue.db", "sqlite", {"path": "queue.db"}),
        ("sqlite:///data/my%20queue.db", "sqlite", {"path": "data/my queue.db"}),
        ("sqlite:////var/queue.db", "sqlite", {"path": "/var/queue.db"}),
        ("redis://h:1/0", "redis", {"url": "redis://h:1/0"}),
        ("nats://h:4222", "nats", {"servers": "nats://h:4222"}),
        ("tls://h:4222", "nats", {"servers": "tls://h:4222"}),
        ("rediss://h", "redis", {"url": "rediss://h"}),
        ("amqps://h", "amqp", {"url": "amqps://h"}),
        ("postgresql://h/db", "postgres", {"url": "postgresql://h/db"}),
        ("acme://h", "acme", {"url": "acme://h"}),
    ],
)
def test_urls(url: str, kind: str, fields: dict[str, Any]) -> None:
    assert driver_of_url(url) == (f"queue.driver.{kind}", fields)


@pytest.mark.parametrize("url", ["", "memory", "sqlite:queue.db", "://x"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(InvalidEntryError, match="is not a URL"):
        driver_of_url(url)


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("rabbitmq://h", "amqp://"),
        ("pyamqp://h", "amqp://"),
        ("postgresql+asyncpg://u:secret@h/db", "postgresql://"),
        ("sqla+sqlite:///x.db", "sqlite://"),
        ("psql://h/db", "postgres://"),
    ],
)
def test_schemes_of_other_libraries(url: str, right: str) -> None:
    with pytest.raises(InvalidEntryError) as caught:
        driver_of_url(url)
    assert caught.value.hint == f"write {right}"
    assert caught.value.position is not None
    assert caught.value.position.file == __file__


def test_a_password_is_not_shown() -> None:
    with pytest.raises(InvalidEntryError, match=r"'\*\*\*@h' is not a URL"):
        driver_of_url("user:secret@h")


def test_a_file_that_was_taken_for_a_host() -> None:
    with pytest.raises(InvalidEntryError, match=r"sqlite:///queue\.db") as caught:
        driver_of_url("sqlite://queue.db")
    assert caught.value.position is not None


def test_an_app_is_not_made_of_anything_else_and_shows_no_password() -> None:
    with pytest.raises(TypeError, match=r"App\(…\) cannot take a mapping: give it a URL, or a driver"):
        App({"url": "redis://:secret@localhost"})  # type: ignore[arg-type]  # the mistake
    with pytest.raises(TypeError, match="cannot take the class Redis: give it"):
        App(Redis)  # type: ignore[arg-type]  # the mistake


def test_a_namespace_has_no_colon() -> None:
    with pytest.raises(InvalidEntryError, match="'a:b' is not a valid namespace; a colon ends") as caught:
        App(namespace="a:b")
    assert caught.value.position is not None
    assert caught.value.position.file == __file__


@pytest.mark.parametrize("name", [5, None])
def test_a_name_of_a_queue_is_text(name: Any) -> None:
    with pytest.raises(TypeError, match=r"a queue is given as its name, its id or its handle, not as (int|NoneType)"):
        App().queue(name)


@pytest.mark.parametrize("field", ["name", "kind", "meta"])
def test_a_field_that_is_an_argument_in_code(field: str) -> None:
    app = App(Memory(**{field: "x"}))  # type: ignore[arg-type]  # the mistake
    app.queue("jobs")
    with pytest.raises(ProjectError, match=f"unknown field '{field}'; in code it is an argument of app.entry"):
        app.check()


def test_classes_of_errors_are_named() -> None:
    app = App("memory://")
    app.queue("jobs", retry={"never": [ValueError]})  # type: ignore[arg-type]  # the mistake
    expected = "retry.never.0 must be text, not the class ValueError; write its name: 'ValueError'"
    with pytest.raises(ProjectError, match=expected):
        app.check()


@pytest.mark.parametrize(("body", "problem"), [("int", "the text 'int'; write the type itself"), (5, "5")])
def test_the_type_of_bodies_is_a_type(body: Any, problem: str) -> None:
    app = App("memory://")
    app.queue("jobs", body)
    with pytest.raises(ProjectError, match=f"app:jobs: a body cannot become {problem}"):
        app.check()


def test_entries_know_their_place_and_their_names() -> None:
    declared = Declarations("shop")
    entry = declared.add("tasks", "queue.queue", {"driver": "d"})
    assert (entry.id, entry.data) == ("shop:tasks", {"driver": "d"})
    assert declared.get("shop:tasks") is entry
    assert declared.get("shop:other") is None
    assert declared.id_of("a:b") == "a:b"
    position = entry.position()
    assert position is not None
    assert position.file == __file__


def test_the_first_of_two_stays_and_both_are_kept_for_the_check() -> None:
    declared = Declarations("app")
    first = declared.add("a", "queue.queue", {})
    declared.add("a", "queue.queue", {})
    assert declared.get("app:a") is first
    assert len(declared.entries) == 2


class Callable_:
    def __call__(self, body: Any) -> None: ...


def test_names_of_functions() -> None:
    assert name_of(test_names_of_functions) == "test_names_of_functions"
    assert name_of(lambda: None) == "handler"
    assert name_of(Callable_()) == "Callable_"


def test_a_queue_is_declared_with_its_driver_and_its_dead_letters() -> None:
    app = App("memory://")
    dead = app.queue("dead")
    app.queue("one", dead_letter=dead)
    app.queue("two", dead_letter={"queue": dead, "max_attempts": 2})
    app.queue("three", dead_letter="three.dead")
    project = app.check()
    assert list(project.configs) == ["app:driver", "app:dead", "app:one", "app:two", "app:three", "app:three.dead"]
    assert project.edges["app:one"] == project.edges["app:two"] == ("app:driver", "app:dead")
    assert repr(dead) == "<queue app:dead>"
    assert app.queue("dead").id == dead.id
    assert len(app._runtime.load_entries().registry.entries) == 6


def test_a_queue_on_a_driver_of_its_own() -> None:
    app = App("memory://")
    app.queue("one", driver=app.entry("other", "queue.driver.memory"))
    assert list(app.check().configs) == ["app:other", "app:one"]


def test_one_function_for_two_queues() -> None:
    app = App("memory://")

    @app.queue("one").consumer()
    @app.queue("two").consumer(name="second", lifecycle={"auto_start": False})
    @app.queue("three").consumer()
    @app.queue("four").consumer()
    async def handle(body: Any) -> None: ...

    ids = list(app.check().configs)
    assert [id for id in ids if "consumer" in id] == [
        "app:handle.consumer",
        "app:handle.three.consumer",
        "app:handle.one.consumer",
    ]
    assert ids.count("app:handle") == 1
    assert "app:second" in ids


def test_a_queue_and_its_handler_may_have_one_name() -> None:
    app = App("memory://")

    @app.queue("mails").consumer
    async def mails(body: Any) -> None: ...

    assert {"app:mails", "app:mails.handler", "app:mails.consumer"} <= app.check().configs.keys()


def test_a_function_that_is_both_called_and_delivered_to() -> None:
    app = App("memory://")

    @app.queue("one").consumer()
    @app.function()
    async def handle(body: Any) -> None: ...

    @app.function("other")
    def another(body: Any) -> None: ...

    assert {"app:handle", "app:other"} <= app.check().configs.keys()


def test_two_functions_of_one_name_are_a_mistake_that_is_told() -> None:
    app = App("memory://")

    def make() -> None:
        @app.queue("one").consumer()
        async def handle(body: Any) -> None: ...

    make()
    make()
    with pytest.raises(ProjectError, match="'app:handle' is already defined"):
        app.check()
