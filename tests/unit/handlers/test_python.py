import asyncio
import concurrent.futures
import contextvars
import functools
import logging
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import msgspec
import pytest

from tasuki.contracts.handler import Context, Interrupted, Reject, Retry, Snooze
from tasuki.errors import HandlerError, HandlerNotFoundError, InvalidBodyError
from tasuki.handlers.python import PythonHandler
from tasuki.message import Message
from tasuki.testing.context import RecordingContext
from tests.unit.handlers.codec import JsonCodec

pytestmark = pytest.mark.anyio

TRACED = """
import sys
from tasuki.handlers.threads import _Call

def interrupted():
    call.interrupt()

def other():
    return "went on"

sys.settrace(lambda *event: None)
call = _Call(interrupted, (), {})
print(type(call.run()[1]).__name__)
print(other())
"""

CONTEXT = RecordingContext(Message("1", b'{"id": 5}', {}))
variable = contextvars.ContextVar("variable", default="unset")


class Task(msgspec.Struct):
    id: int


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Any]]:
    """Make and start a handler; it is stopped after the test."""
    handlers = []

    async def start(target: Any = None, **options: Any) -> PythonHandler:
        handler = PythonHandler("app:f", target=target, **options)
        handlers.append(handler)
        await handler.start()
        return handler

    yield start
    for handler in handlers:
        await handler.stop()


Make = Callable[..., Any]


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
            def __await__(self) -> Generator[None, None, "Client"]:
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

    async def test_everything_injected(self, make: Make) -> None:
        async def f(log: logging.Logger, message: Message, body: Task, context: Context) -> Any:
            return log, message, body, context

        assert await (await make(f)).handle("B", CONTEXT) == (CONTEXT.logger, CONTEXT.message, "B", CONTEXT)

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

    async def test_not_found(self, make: Make) -> None:
        with pytest.raises(HandlerNotFoundError):
            await make(import_path="os.path:bas")

    async def test_a_parameter_that_nothing_fills(self, make: Make) -> None:
        with pytest.raises(HandlerError, match="parameter 'user'"):
            await make(lambda body, user: None)

    async def test_a_type_that_no_body_can_become(self, make: Make) -> None:
        async def f(task: "asyncio.Task[None]") -> None: ...

        with pytest.raises(
            HandlerError, match=r"test_python\.py:\d+: function .*parameter 'task': a body cannot become"
        ):
            await make(f)

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

    async def test_without_annotation_it_is_as_decoded(self, make: Make) -> None:
        decode = (await make(lambda context_free: None)).decoder(JsonCodec())
        assert decode(b'{"id": 5}') == {"id": 5}


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
        with pytest.raises(HandlerError, match="called with 4 arguments; it takes 3"):
            await handler.call([{"id": 5}, 1, True, 1], CONTEXT)

    async def test_a_sync_function(self, make: Make) -> None:
        def f(a: int = 1, *rest: int, context: Context) -> Any:
            return a, rest, context

        assert await (await make(f)).call([1, 2, 3], CONTEXT) == (1, (2, 3), CONTEXT)


def raiser(error: BaseException, *, is_async: bool) -> Callable[..., Any]:
    async def async_raise(body: int) -> None:
        raise error

    def sync_raise(body: int) -> None:
        raise error

    return async_raise if is_async else sync_raise


def both(handler: PythonHandler) -> list[Callable[[], Any]]:
    return [lambda: handler.handle(1, CONTEXT), lambda: handler.call([1], CONTEXT)]


@pytest.mark.parametrize("is_async", [True, False])
class TestErrors:
    @pytest.mark.parametrize(
        "error", [Retry(after=5), Reject("bad"), Snooze(5), ValueError("x"), HandlerError("y"), TimeoutError()]
    )
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

    async def test_a_cancelled_future_of_another_is_not_our_cancellation(self, make: Make, is_async: bool) -> None:
        handler = await make(raiser(concurrent.futures.CancelledError(), is_async=is_async))
        with pytest.raises(concurrent.futures.CancelledError):
            await handler.handle(1, CONTEXT)

    async def test_the_group_of_a_task_group_passes(self, make: Make, is_async: bool) -> None:
        group = ExceptionGroup("both", [ValueError(), KeyError()])
        with pytest.raises(ExceptionGroup) as caught:
            await (await make(raiser(group, is_async=is_async))).handle(1, CONTEXT)
        assert caught.value is group


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


class TestThreads:
    async def test_a_thread_that_ends_as_if_it_were_closed_has_failed(self, make: Make) -> None:
        with pytest.raises(HandlerError, match=r"raised GeneratorExit.*cannot end the worker"):
            await (await make(raiser(GeneratorExit(), is_async=False))).handle(1, CONTEXT)

    async def test_context_variables_are_copied(self, make: Make) -> None:
        def f() -> str:
            seen = variable.get()
            variable.set("changed in the thread")
            return seen

        variable.set("caller")
        assert await (await make(f)).handle(1, CONTEXT) == "caller"
        assert variable.get() == "caller"

    async def test_as_many_at_once_as_threads(self, make: Make) -> None:
        barrier = threading.Barrier(3, timeout=10)

        def f() -> int:
            return barrier.wait()

        handler = await make(f, threads=3)
        assert sorted(await asyncio.gather(*(handler.handle(1, CONTEXT) for _ in range(3)))) == [0, 1, 2]

    async def test_the_loop_goes_on_meanwhile(self, make: Make) -> None:
        gate = threading.Event()
        handler = await make(lambda: gate.wait(10))
        task = asyncio.ensure_future(handler.handle(1, CONTEXT))
        await asyncio.sleep(0)
        gate.set()
        assert await task is True

    async def test_a_cancelled_one_is_interrupted_and_waited_for(self, make: Make) -> None:
        loop = asyncio.get_running_loop()
        started, gate, ended = asyncio.Event(), threading.Event(), []

        def f() -> None:
            try:
                loop.call_soon_threadsafe(started.set)
                while True:
                    time.sleep(0.001)
            except Interrupted:
                loop.call_soon_threadsafe(started.set)
                gate.wait(10)
                ended.append(True)
                raise

        task = asyncio.ensure_future((await make(f)).handle(1, CONTEXT))
        await started.wait()
        started.clear()
        task.cancel()
        await started.wait()
        assert not task.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended

    @pytest.mark.parametrize("error", [None, Reject("no"), ValueError("broken")])
    async def test_one_that_ends_by_itself_after_a_cancel_decides(self, make: Make, error: Exception | None) -> None:
        loop = asyncio.get_running_loop()
        started = asyncio.Event()

        def f() -> str:
            try:
                loop.call_soon_threadsafe(started.set)
                while True:
                    time.sleep(0.001)
            except Interrupted:
                if error is not None:
                    raise error from None
                return "charged"

        handler = await make(f)
        task = asyncio.ensure_future(handler.handle(1, CONTEXT))
        await started.wait()
        task.cancel()
        if error is None:
            assert await task == "charged"
        else:
            with pytest.raises(type(error)):
                await task
        started.clear()
        call = asyncio.ensure_future(handler.call((), CONTEXT))
        await started.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):  # the caller goes on no more
            await call

    async def test_one_that_would_go_on_as_a_coroutine_does_not(self, make: Make) -> None:
        loop = asyncio.get_running_loop()
        started, ran = asyncio.Event(), []

        async def later() -> None:
            ran.append(True)

        def f() -> Any:
            try:
                loop.call_soon_threadsafe(started.set)
                while True:
                    time.sleep(0.001)
            except Interrupted:
                return later()

        task = asyncio.ensure_future((await make(f)).handle(1, CONTEXT))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ran == []

    async def test_a_late_interrupt_never_hits_the_next_call_of_the_thread(self, make: Make) -> None:
        def short() -> str:
            return "".join(map(str, range(20)))

        handler = await make(short, threads=1)
        cancelled = 0
        for _ in range(300):
            task = asyncio.ensure_future(handler.handle(1, CONTEXT))
            await asyncio.sleep(0)
            task.cancel()
            result = (await asyncio.gather(task, return_exceptions=True))[0]
            cancelled += isinstance(result, asyncio.CancelledError)
            assert isinstance(result, asyncio.CancelledError) or result == short()
            assert await handler.handle(1, CONTEXT) == short()
        assert cancelled

    def test_an_interrupted_one_leaves_a_traced_interpreter_alive(self) -> None:
        # In a process of its own: an interpreter that stands still takes no signal either.
        ended = subprocess.run([sys.executable, "-c", TRACED], capture_output=True, text=True, timeout=100, check=True)
        assert ended.stdout.split() == ["Interrupted", "went", "on"]

    async def test_one_that_has_not_begun_is_cancelled_at_once(self, make: Make) -> None:
        loop = asyncio.get_running_loop()
        started, gate, calls = asyncio.Event(), threading.Event(), []

        def f(body: str) -> None:
            calls.append(body)
            loop.call_soon_threadsafe(started.set)
            gate.wait(10)

        handler = await make(f, threads=1)
        first = asyncio.ensure_future(handler.handle("first", CONTEXT))
        await started.wait()
        second = asyncio.ensure_future(handler.handle("second", CONTEXT))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.set()
        await first
        assert calls == ["first"]

    async def test_stop_does_not_wait_for_a_running_one(self, make: Make) -> None:
        gate = threading.Event()
        handler = await make(lambda: gate.wait(10))
        task = asyncio.ensure_future(handler.handle(1, CONTEXT))
        await asyncio.sleep(0)
        await handler.stop()
        assert not task.done()
        gate.set()
        assert await task is True
