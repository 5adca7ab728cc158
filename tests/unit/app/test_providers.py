"""Providers of an app: what handlers and tasks are given, how often it is made, and when it is closed."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from tasuki import App, Context, Handle, Reject, Retries
from tasuki.errors import BodyTypeError, ProviderError
from tasuki.testing import TestApp

pytestmark = pytest.mark.anyio

events: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    events.clear()


class Engine:
    name = "real"


@dataclass
class Session:
    engine: Engine
    message: str = ""
    thread: int = 0


@dataclass
class Mail:
    to: str


async def engine() -> AsyncIterator[Engine]:
    events.append("engine opens")
    yield Engine()
    events.append("engine closes")


def plain_engine() -> Iterator[Engine]:
    events.append("engine opens")
    yield Engine()
    events.append("engine closes")


async def session(engine: Engine, context: Context) -> AsyncIterator[Session]:
    assert context.message is not None
    events.append("session opens")
    try:
        yield Session(engine, context.message.id)
    except Exception as error:
        events.append(f"session rolls back {error}")
        raise
    events.append("session closes")


def plain_session(engine: Engine, context: Context) -> Iterator[Session]:
    events.append("session opens")
    thread = threading.get_ident()
    try:
        yield Session(engine, "", thread)
    except Exception as error:
        events.append(f"session rolls back {error}")
        raise
    finally:
        assert threading.get_ident() == thread
    events.append("session closes")


def app_with(*, is_plain: bool = False) -> App:
    app = App("memory://")
    app.provide(plain_engine if is_plain else engine, name="engine")
    app.provide(plain_session if is_plain else session, scope="message", name="session")
    return app


async def test_one_engine_for_all_messages_and_a_session_for_each() -> None:
    app, given = app_with(), []
    mails = app.queue("mails", Mail)

    @mails.consumer
    async def send(session: Session, mail: Mail, engine: Engine, log: logging.LoggerAdapter[Any]) -> None:
        given.append((mail.to, session.message, session.engine is engine))
        events.append("handled")

    async with TestApp(app) as t:
        ids = [(await mails.publish(Mail(to))).id for to in ("ada", "bob")]
        await t.drain()
        assert t.errors == []
    assert given == [("ada", ids[0], True), ("bob", ids[1], True)]
    one = ["session opens", "handled", "session closes"]
    assert events == ["engine opens", *one, *one, "engine closes"]


async def test_a_plain_handler_has_its_session_in_its_own_thread() -> None:
    app, given = app_with(is_plain=True), []
    mails = app.queue("mails", Mail)

    @mails.consumer
    def send(mail: Mail, session: Session) -> None:
        given.append((mail.to, session.engine.name, session.thread == threading.get_ident()))

    async with TestApp(app) as t:
        await mails.publish(Mail("ada"))
        await t.drain()
    assert given == [("ada", "real", True)]
    assert events == ["engine opens", "session opens", "session closes", "engine closes"]


async def test_messages_that_need_it_at_the_same_time_wait_for_one_engine() -> None:
    app, made, given = App("memory://"), [], []
    both = asyncio.Event()

    @app.provide
    async def engine() -> Engine:
        made.append(1)
        await both.wait()
        return Engine()

    @app.middleware
    async def count(body: Any, context: Context, handle: Handle) -> Any:
        given.append(body)
        if len(given) == 2:
            both.set()
        return await handle(body, context)

    jobs = app.queue("jobs")

    @jobs.consumer(concurrency=2, middleware=["count"])
    async def work(body: int, engine: Engine) -> None:
        given.append(engine)

    async with TestApp(app) as t:
        await jobs.publish_many([1, 2])
        await t.drain()
    assert len(made) == 1
    assert given[:2] == [1, 2]
    assert given[2] is given[3]


@pytest.mark.parametrize("is_plain", [False, True])
async def test_what_is_open_is_closed_with_the_error_of_the_handler(
    is_plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_with(is_plain=is_plain)
    jobs = app.queue("jobs", dead_letter="dead")

    if is_plain:

        @jobs.consumer
        def work(session: Session) -> None:
            raise Reject("no")
    else:

        @jobs.consumer
        async def work_async(session: Session) -> None:
            raise Reject("no")

    async with TestApp(app) as t:
        await jobs.publish({})
        await t.drain()
        assert [letter.reason for letter in t.dead] == ["rejected"]
    assert events == ["engine opens", "session opens", "session rolls back no", "engine closes"]
    assert "failed to close" not in caplog.text


@pytest.mark.parametrize("is_plain", [False, True])
async def test_an_error_of_a_provider_is_a_failure_of_the_handler_and_names_the_provider(is_plain: bool) -> None:
    app, tries = App("memory://"), []

    @app.provide
    def broken() -> Engine:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionRefusedError("no database")
        return Engine()

    jobs, done = app.queue("jobs"), []

    async def work(engine: Engine) -> None:
        done.append(engine.name)

    def work_plainly(engine: Engine) -> None:
        done.append(engine.name)

    jobs.consumer(work_plainly if is_plain else work)
    async with TestApp(app) as t:
        await jobs.publish({})
        await t.advance("1h")
        texts = [str(each.error) for each in t.errors]
    assert texts == ["provider 'app:broken' failed: ConnectionRefusedError: no database"] * 2
    assert done == ["real"]


async def test_the_retry_rules_know_the_error_of_a_provider() -> None:
    app = App("memory://")

    @app.provide(scope="message")
    async def broken() -> Engine:
        raise ConnectionRefusedError("no database")

    jobs = app.queue("jobs", dead_letter="dead")

    @jobs.task(retry=Retries(never=(OSError,)))
    async def work(engine: Engine) -> None: ...

    async with TestApp(app) as t:
        await work.publish()  # type: ignore[call-arg]
        await t.drain()
        [letter] = t.dead
    assert letter.reason == "not_retryable"
    assert letter.error == "provider 'app:broken' failed: ConnectionRefusedError: no database"


async def test_a_session_that_cannot_be_closed_fails_a_good_handler_and_is_logged_beside_a_bad_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App("memory://")

    @app.provide(scope="message")
    async def session() -> AsyncIterator[Session]:
        try:
            yield Session(Engine())
        finally:
            raise OSError("cannot commit")

    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})

    @jobs.consumer
    async def work(session: Session, body: str) -> None:
        if body == "bad":
            raise ValueError("broken")

    async with TestApp(app) as t:
        await jobs.publish("good")
        await jobs.publish("bad")
        await t.drain()
        errors = [letter.error for letter in t.dead]
    assert errors == ["provider 'app:session' failed to close: OSError: cannot commit", "ValueError: broken"]
    assert "provider app:session failed to close after an error of its handler: OSError: cannot commit" in caplog.text
    logged = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [repr(error) for error in logged] == ["OSError('cannot commit')", "ValueError('broken')"]


async def test_a_context_manager_that_raises_the_error_of_the_handler_itself_has_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Raising(AbstractContextManager[Session]):
        def __enter__(self) -> Session:
            return Session(Engine())

        def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
            if error is not None:
                raise error

    app = App("memory://")

    @app.provide(scope="message")
    def session() -> AbstractContextManager[Session]:
        return Raising()

    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})

    @jobs.consumer
    async def work(session: Session) -> None:
        raise ValueError("broken")

    async with TestApp(app) as t:
        await jobs.publish({})
        await t.drain()
        assert [letter.error for letter in t.dead] == ["ValueError: broken"]
    assert "failed to close" not in caplog.text


async def test_a_provider_cannot_swallow_the_error_of_the_handler() -> None:
    app = App("memory://")

    @app.provide(scope="message")
    def session() -> Iterator[Session]:
        try:
            yield Session(Engine())
        except ValueError:
            pass

    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})

    @jobs.consumer
    def work(session: Session) -> None:
        raise ValueError("broken")

    async with TestApp(app) as t:
        await jobs.publish({})
        await t.drain()
        assert [letter.error for letter in t.dead] == ["ValueError: broken"]


async def test_a_task_takes_its_arguments_without_what_is_provided() -> None:
    app, given = app_with(), []
    jobs = app.queue("jobs")

    @jobs.task(inject=Session)
    async def fetch(session: Session, url: str, tries: int = 3) -> None:
        given.append((session.engine.name, url, tries))

    with pytest.raises(BodyTypeError, match="cannot take 'session' by name: it is injected by the worker"):
        fetch.message(url="x", session=1)  # type: ignore[call-arg]
    async with TestApp(app) as t:
        await fetch.publish("http://x")
        await t.drain()
        assert t.errors == []
    assert given == [("real", "http://x", 3)]


async def test_a_function_that_is_called_is_given_it_too() -> None:
    app = app_with(is_plain=True)

    @app.function
    def named(engine: Engine, prefix: str) -> str:
        return prefix + engine.name

    async with app:
        assert await app.call("named", "is ") == "is real"
    assert events == ["engine opens", "engine closes"]


async def test_a_test_gives_another_object_and_what_the_provider_needs_is_not_made() -> None:
    app, given = app_with(), []
    jobs = app.queue("jobs")

    @jobs.consumer
    async def work(session: Session) -> None:
        given.append(session)

    async with TestApp(app) as t:
        t.provide(Session, fake := Session(Engine(), "fake"))
        await jobs.publish({})
        await t.drain()
        with pytest.raises(ValueError, match=r"provides no .*Mail; it provides .*Engine, .*Session"):
            t.provide(Mail, None)
    assert (given, events) == ([fake], [])


async def test_providers_of_a_project_in_yaml_are_imported(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code.py").write_text(
        "class Engine: name = 'yaml'\ndef engine() -> Engine: return Engine()\n"
        "def work(engine: Engine, log: list) -> list: return [*log, engine.name]\n"
    )
    (tmp_path / "_index.yaml").write_text(
        "version: '1.0'\nnamespace: app\nentries:\n"
        "  - {name: engine, kind: provider.python, source: file://code.py, method: engine}\n"
        "  - {name: work, kind: function.python, source: file://code.py, method: work}\n"
    )
    async with App.load(tmp_path) as app:
        assert await app.call("work", ["x"]) == ["x", "yaml"]


def test_the_error_is_public() -> None:
    assert ProviderError("x").names == ()
