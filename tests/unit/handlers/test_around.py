"""``App.around``: every Python function of an app is called by way of what it makes."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

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

    app.around = around
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
