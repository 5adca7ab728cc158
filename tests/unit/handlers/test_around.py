"""``App.around``: every Python function of an app is called by way of what it makes."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tasuki import App
from tasuki.testing import TestApp


def test_it_runs_in_the_thread_of_the_function_and_changes_neither_body_nor_injection() -> None:
    app, told = App("memory://"), []

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **named: Any) -> Any:
            told.append(("around", threading.get_ident()))
            return function(*args, **named)

        @functools.wraps(function)
        async def run_async(*args: Any, **named: Any) -> Any:
            told.append(("around", threading.get_ident()))
            return await function(*args, **named)

        return run_async if inspect.iscoroutinefunction(function) else run

    app._runtime.around = around
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

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **named: Any) -> Any:
            told.append("begin")
            try:
                return function(*args, **named)
            finally:
                told.append("end")

        @functools.wraps(function)
        async def run_async(*args: Any, **named: Any) -> Any:
            told.append("begin")
            try:
                return await function(*args, **named)
            finally:
                told.append("end")

        return run_async if inspect.iscoroutinefunction(function) else run

    app._runtime.around = around

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
