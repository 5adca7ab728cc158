"""Python functions as handlers: kinds, starts, bodies, calls, errors."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import msgspec
import pytest

from tasuki import App
from tasuki.contracts.handler import Context, Reject, Retry, Snooze
from tasuki.errors import HandlerError, InvalidBodyError
from tasuki.handlers.python import PythonHandler
from tasuki.message import Message
from tasuki.testing import TestApp
from tests.unit.handlers.codec import JsonCodec
from tests.unit.handlers.conftest import CONTEXT, Make, raiser

pytestmark = pytest.mark.anyio


class Task(msgspec.Struct):
    id: int


class TestKinds:
    async def test_async_runs_on_the_loop(self, make: Make) -> None:
        async def f(body: int) -> Any:
            return body, threading.current_thread()

        assert await (await make(f)).handle(5, CONTEXT) == (5, threading.main_thread())

    async def test_def_runs_in_a_thread_of_its_own_name(self, make: Make) -> None:
        def f(body: int, context: Context) -> Any:
            return body, context, threading.current_thread().name

        body, context, thread = await (await make(f)).handle(5, CONTEXT)
        assert (body, context) == (5, CONTEXT)
        assert thread.startswith("tasuki-app:f")

    async def test_methods_partials_and_objects(self, make: Make) -> None:
        class Service:
            def method(self, body: int) -> int:
                return body + 1

            async def __call__(self, body: int) -> int:
                return body + 2

        def f(step: int, body: int) -> int:
            return body + step

        async def g(step: int, body: int) -> int:
            return body + step

        for target, expected in [
            (Service().method, 6),
            (Service(), 7),
            (Service, 7),
            (functools.partial(f, 3), 8),
            (functools.partial(g, 4), 9),
            (functools.partial(Service(), body=5), 7),
            (AsyncMock(return_value=10), 10),
        ]:
            assert await (await make(target)).handle(5, CONTEXT) == expected

    async def test_a_plain_wrapper_of_an_async_function_is_awaited(self, make: Make) -> None:
        async def f(body: int) -> Any:
            return body, threading.current_thread()

        def hide(body: int) -> Any:
            return f(body)

        handler = await make(hide)
        assert await handler.handle(5, CONTEXT) == (5, threading.main_thread())

    async def test_what_an_async_function_forgot_to_await_is_awaited(self, make: Make) -> None:
        async def work(body: int) -> int:
            await asyncio.sleep(0)
            return body

        async def f(body: int) -> Any:
            return work(body)

        async def g(body: int) -> Any:
            return asyncio.create_task(work(body))

        async def h(body: int) -> Any:
            return (x for x in [body])

        class Client:
            def __await__(self) -> Generator[None, None, Client]:
                yield
                return self

        async def i(body: int) -> Any:
            return Client()

        assert isinstance(await (await make(i)).handle(5, CONTEXT), Client)
        assert await (await make(f)).handle(5, CONTEXT) == 5
        assert await (await make(g)).handle(6, CONTEXT) == 6
        with pytest.raises(HandlerError, match="returned a generator"):
            await (await make(h)).handle(7, CONTEXT)

    async def test_generators_are_refused(self, make: Make) -> None:
        def f(body: int) -> Iterator[int]:
            yield body

        async def g(body: int) -> AsyncIterator[int]:
            yield body

        class H:
            def __call__(self, body: int) -> Iterator[int]:
                yield body

        for target in (f, g, H(), functools.partial(f)):
            with pytest.raises(HandlerError, match="is a generator; a handler must not yield"):
                await make(target)

        def hide(body: int) -> Any:
            return f(body)

        handler = await make(hide)
        with pytest.raises(HandlerError, match="returned a generator"):
            await handler.handle(5, CONTEXT)

    async def test_no_parameters(self, make: Make) -> None:
        async def f() -> str:
            return "done"

        handler = await make(f)
        assert await handler.handle(5, CONTEXT) == "done"
        assert handler.decoder(JsonCodec())(b"\xff not JSON") is None


class TestStart:
    async def test_by_import_path(self, make: Make) -> None:
        handler = await make(import_path="os.path:basename")
        assert await handler.handle("a/b", CONTEXT) == "b"

    async def test_by_source(self, make: Make, tmp_path: Path) -> None:
        (tmp_path / "tasks.py").write_text("async def f(body: int): return body + 1\ndef g(body): pass\n")
        handler = await make(source=tmp_path / "tasks.py", method="f")
        assert await handler.handle(5, CONTEXT) == 6

    async def test_nothing_given(self, make: Make) -> None:
        with pytest.raises(HandlerError, match="app:f: the entry names no function"):
            await make()

    async def test_before_the_start(self) -> None:
        handler = PythonHandler("app:f", target=print)
        with pytest.raises(HandlerError, match="app:f: not started"):
            await handler.handle(1, CONTEXT)
        with pytest.raises(HandlerError, match="not started"):
            handler.decoder(JsonCodec())
        with pytest.raises(HandlerError, match="not started"):
            await handler.call([], CONTEXT)

    async def test_start_and_stop_are_idempotent_and_can_be_repeated(self, make: Make) -> None:
        handler = await make(lambda body: body)
        for _ in range(3):
            await handler.start()
            assert await handler.handle(5, CONTEXT) == 5
            await handler.stop()
            await handler.stop()


class TestBody:
    async def test_is_converted_to_its_annotation(self, make: Make) -> None:
        async def f(task: Task) -> None: ...

        decode = (await make(f)).decoder(JsonCodec())
        assert decode(b'{"id": 5}') == Task(5)
        with pytest.raises(InvalidBodyError):
            decode(b'{"id": "x"}')

    async def test_only_injected_parameters_take_any_body(self, make: Make) -> None:
        async def f(message: Message) -> bytes:
            return message.body

        handler = await make(f)
        assert handler.decoder(JsonCodec())(b"\xff") is None
        assert await handler.handle(None, CONTEXT) == b'{"id": 5}'


class TestCall:
    async def test_arguments_are_converted(self, make: Make) -> None:
        async def f(task: Task, context: Context, count: int = 1, *, flag: bool = False) -> Any:
            return task, context, count, flag

        handler = await make(f)
        assert await handler.call([{"id": 5}, 3, True], CONTEXT) == (Task(5), CONTEXT, 3, True)
        assert await handler.call([Task(5)], CONTEXT) == (Task(5), CONTEXT, 1, False)
        with pytest.raises(InvalidBodyError):
            await handler.call([{"id": 5}, "three"], CONTEXT)
        with pytest.raises(InvalidBodyError):
            await handler.call([], CONTEXT)
        with pytest.raises(HandlerError, match="called with 4 arguments; it takes 3") as caught:
            await handler.call([{"id": 5}, 1, True, 1], CONTEXT)
        assert caught.value.kind == "Invalid"

    async def test_a_sync_function(self, make: Make) -> None:
        def f(a: int = 1, *rest: int, context: Context) -> Any:
            return a, rest, context

        assert await (await make(f)).call([1, 2, 3], CONTEXT) == (1, (2, 3), CONTEXT)


def both(handler: PythonHandler) -> list[Callable[[], Any]]:
    return [lambda: handler.handle(1, CONTEXT), lambda: handler.call([1], CONTEXT)]


@pytest.mark.parametrize("is_async", [True, False])
class TestErrors:
    @pytest.mark.parametrize(
        "error",
        [
            Retry(after=5), Reject("bad"), Snooze(5), ValueError("x"), HandlerError("y"), TimeoutError(),
            ExceptionGroup("both", [ValueError(), KeyError()]),
            concurrent.futures.CancelledError(),  # of a future of another: it is no cancellation of the handler
        ],
    )  # fmt: skip
    async def test_exceptions_pass_unchanged(self, make: Make, error: Exception, is_async: bool) -> None:
        handler = await make(raiser(error, is_async=is_async))
        for run in both(handler):
            with pytest.raises(type(error)) as caught:
                await run()
            assert caught.value is error

    @pytest.mark.parametrize(
        "error",
        [SystemExit(2), KeyboardInterrupt("x"), BaseException("b"), asyncio.CancelledError(), GeneratorExit()],
    )
    async def test_nothing_can_end_the_worker(self, make: Make, error: BaseException, is_async: bool) -> None:
        handler = await make(raiser(error, is_async=is_async))
        for run in both(handler):
            with pytest.raises(HandlerError, match=rf"raised {type(error).__name__}.*cannot end the worker") as caught:
                await run()
            assert caught.value.__cause__ is error

    async def test_stop_iteration_does_not_hang(self, make: Make, is_async: bool) -> None:
        handler = await make(raiser(StopIteration(), is_async=is_async))
        with pytest.raises(RuntimeError, match="raised StopIteration"):
            await handler.handle(1, CONTEXT)


async def test_async_cancellation_passes(make: Make) -> None:
    started = asyncio.Event()

    async def f() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future((await make(f)).handle(1, CONTEXT))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_closing_the_coroutine_passes(make: Make) -> None:
    async def f() -> None:
        await asyncio.sleep(0)

    coroutine = (await make(f)).handle(1, CONTEXT)
    coroutine.send(None)
    await asyncio.to_thread(coroutine.close)  # from outside of the loop, as at its end


def enclosing(begin: Callable[[], object], end: Callable[[], object]) -> Callable[..., Any]:
    """What an application has around its functions: it calls these two before and after each."""

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **named: Any) -> Any:
            begin()
            try:
                return function(*args, **named)
            finally:
                end()

        @functools.wraps(function)
        async def run_async(*args: Any, **named: Any) -> Any:
            begin()
            try:
                return await function(*args, **named)
            finally:
                end()

        return run_async if inspect.iscoroutinefunction(function) else run

    return around


def test_it_runs_in_the_thread_of_the_function_and_changes_neither_body_nor_injection() -> None:
    app, told = App("memory://"), []

    app._runtime.around = enclosing(lambda: told.append(("around", threading.get_ident())), lambda: None)
    bodies, jobs = app.queue("bodies", int), app.queue("jobs")

    @bodies.consumer
    def plain(body: int) -> None:
        told.append((str(body), threading.get_ident()))

    @jobs.task
    async def task(text: str, times: int = 2) -> None:
        told.append((text * times, threading.get_ident()))

    with TestApp(app) as twin:
        app.sync.publish(bodies, 1)
        twin.sync.drain()
        task.send("ab")
        twin.sync.drain()
        twin.sync.run(plain, 3)
    names, threads = [name for name, _ in told], [thread for _, thread in told]
    assert names == ["around", "1", "around", "abab", "around", "3"]
    assert threads[0] == threads[1] != threading.get_ident()
    assert task.function.__name__ == "task"


class Session:
    """What a provider makes."""


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_it_encloses_the_objects_that_are_made_for_one_run(kind: str) -> None:
    app, told = App("memory://"), []
    jobs = app.queue("jobs", int)

    app._runtime.around = enclosing(lambda: told.append("begin"), lambda: told.append("end"))

    @app.provide(scope="message")
    def session() -> Iterator[Session]:
        told.append("made")
        yield Session()
        told.append("closed")

    def plain(body: int, session: Session) -> None:
        told.append("handled")

    async def with_await(body: int, session: Session) -> None:
        told.append("handled")

    jobs.consumer(plain if kind == "def" else with_await)
    with TestApp(app) as twin:
        app.sync.publish(jobs, 1)
        assert twin.sync.drain().done == 1
    assert told == ["begin", "made", "handled", "closed", "end"]
