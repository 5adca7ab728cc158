"""Run from start to drain, driven by signals, by empty queues, or by the limits of a process that is then replaced."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from tasuki.app.assembly import Assembly
from tasuki.app.health.blocked import recorded
from tasuki.consumers.consumer import Consumer
from tasuki.consumers.handling.stack import stacks_of
from tasuki.contracts.recycling import Limits
from tasuki.errors import DriverError, TasukiError
from tasuki.observe.plain import escape
from tasuki.supervisor.spec import State
from tasuki.system.process import resident_bytes
from tasuki.system.signals import Meaning, StopSignals, signals_on_loop

if TYPE_CHECKING:
    from tasuki.app.runtime import Runtime
    from tasuki.kinds.check.project import Project


_log = logging.getLogger("tasuki.app")


async def wait_until_empty(
    assembly: Callable[[], Assembly | None],
    is_consuming: Callable[[str], bool] = lambda id: True,
    pause: float = 0.05,
) -> None:
    """Return when no queue of the consumers that ``is_consuming`` holds a message, delayed and held ones included.

    An unavailable broker may hold messages, so it is polled until it answers. A queue that is paused until it is
    resumed is not waited for; a pause with an end is.
    """
    while (live := assembly()) is not None:
        consumers = [consumer for id, consumer in live.consumers.items() if is_consuming(id)]
        before = _progress(live)
        try:
            moving = {consumer.queue for consumer in consumers if not _is_paused(consumer)}
            found = [await queue.occupancy() for queue in moving]
        except DriverError as error:
            if not error.retryable:
                raise
        else:
            empty = not any(occupancy.ready or occupancy.hidden for occupancy in found)
            # A handler may have published between two answers: only a round without any progress is proof.
            if empty and before == _progress(live) and not any(consumer.now.held for consumer in consumers):
                await _tell_of_paused([consumer for consumer in consumers if consumer.queue not in moving])
                return
        await asyncio.sleep(pause)


def _is_paused(consumer: Consumer) -> bool:
    return (pause := consumer.now.pause) is not None and pause.until is None


async def _tell_of_paused(consumers: list[Consumer]) -> None:
    for queue, pause in {consumer.queue: consumer.now.pause for consumer in consumers}.items():
        with suppress(DriverError):
            if (info := await queue.info())["message_count"]:
                _log.warning("queue %s keeps %d messages: it is paused %s", queue.id, info["message_count"], pause)


def _progress(assembly: Assembly) -> int:
    """A number that rises with every delivery and every publish."""
    delivered = sum(consumer.metrics.delivered for consumer in assembly.consumers.values())
    return delivered + sum(queue.metrics.published for queue in assembly.queues.values())


PERIOD = 0.5
"""Seconds between checks."""


async def recycle(runtime: Runtime, limits: Limits, memory: Callable[[], int] = resident_bytes) -> str:
    """Drain the app when a limit is reached; returns which."""
    limits, started, handled = limits.spread(random.random()), runtime.clock.monotonic(), _Handled(runtime)  # noqa: S311
    while True:
        await asyncio.sleep(PERIOD)
        if why := limits.reached(handled.count(), memory, runtime.clock.monotonic() - started):
            _log.info("this process ends in order: %s", why)
            runtime.drain()
            return why


class _Handled:
    """Messages that the handlers of a process have handled, also by consumers that a reload has replaced."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._last = 0
        self._total = 0

    def count(self) -> int:
        consumers = self._runtime.assembly.consumers.values() if self._runtime.assembly else ()
        now = sum(consumer.metrics.handler_seconds.count for consumer in consumers)
        self._total += now - self._last if now >= self._last else now
        self._last = now
        return self._total


_SPARE = 3.0
"""Seconds that a stop may take beyond the longest ``stop_timeout``, where a handler blocks the event loop. The parent
of several processes kills one after 5 s, so this process can still end by itself."""


async def run_until_stopped(runtime: Runtime, *, until_empty: bool, signals: bool) -> None:
    """See :meth:`tasuki.App.run`."""
    runtime.stop_requested = stop = asyncio.Event()
    health = runtime.health
    heard_at_once = health.stops = StopSignals()
    health.limit = lambda: runtime.supervisor.stop_timeout + _SPARE
    with _signals(runtime, heard_at_once) if signals else nullcontext():
        runtime.blocks += 1
        try:
            if runtime.stop_signals.first is not None or await _first_of(runtime.start(), stop.wait()):
                return
            _log.info("running; stop with Ctrl-C")
            for warning in _warnings(runtime):
                _log.warning("%s", warning)
            works: list[Coroutine[Any, Any, object]] = [runtime.supervisor.wait(), stop.wait()]
            if until_empty:
                works.append(wait_until_empty(lambda: runtime.assembly, lambda id: _has_started(runtime, id)))
            await _first_of(*works)
        finally:
            runtime.stop_requested = None
            runtime.blocks -= 1
            try:
                await runtime.close()
            finally:
                heard, runtime.stop_signals = runtime.stop_signals, StopSignals()
                runtime.stopped_by, runtime.cut_short_by = heard.first, heard.second


def _warnings(runtime: Runtime) -> list[str]:
    """The warnings of ``tasuki check``, and why no message will be handled if no consumer starts."""
    from tasuki.kinds.check.warnings import warnings_of

    if runtime.assembly is None:
        return []
    project = runtime.assembly.project
    missing = _what_is_missing(project)
    return [*map(str, warnings_of(project)), *([f"nothing will be handled: {missing}"] if missing else [])]


def _what_is_missing(project: Project) -> str:
    """Why no consumer starts; empty if one does, or where the check warns of it."""
    from tasuki.kinds.entries.consumer import ConsumerConfig

    consumers = project.of(ConsumerConfig)
    if any(config.lifecycle.auto_start for config in consumers.values()):
        return ""
    if consumers:
        return f"no consumer starts automatically; give {next(iter(consumers))} lifecycle: {{auto_start: true}}"
    files = {place.file for entry in project.registry if (place := entry.position()) is not None}
    if code := sorted(file for file in files if file.endswith(".py")):
        return f"there is no consumer; write '@queue.consumer()' above a function, and import its module in {code[0]}"
    return "there is no consumer; declare a queue.consumer" if project.configs else ""


def _has_started(runtime: Runtime, consumer: str) -> bool:
    status = runtime.supervisor.states().get(consumer)
    return status is not None and status.state is not State.UNKNOWN


async def _first_of(*works: Coroutine[Any, Any, object]) -> int:
    """Wait until one has ended, and cancel the others; returns the index of the first that has, or raises its error."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
        return next(index for index, task in enumerate(tasks) if task.done())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _signals(runtime: Runtime, heard_at_once: StopSignals) -> Iterator[None]:
    """TERM and INT: drain, then cancel. HUP: reload. QUIT: print the stack of every worker.

    The loop handles them; ``heard_at_once`` notes the stop signals even while a handler blocks the loop.
    """
    background: set[asyncio.Task[None]] = set()

    def spawn(work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.ensure_future(work())
        background.add(task)
        task.add_done_callback(background.discard)

    def end(number: int) -> None:
        meaning = runtime.stop_signals.hear(number, runtime.clock.monotonic())
        if meaning is Meaning.CANCEL:
            _log.warning("stopping now: cancelling the running handlers and releasing their messages")
            spawn(lambda: _hurry(runtime))
        elif meaning is Meaning.DRAIN:
            _log.info("stopping: waiting for running handlers; signal again to cancel them")
            runtime.drain()

    handlers: dict[signal.Signals, Callable[[], object]] = {
        signal.SIGTERM: lambda: end(signal.SIGTERM),
        signal.SIGINT: lambda: end(signal.SIGINT),
        signal.SIGHUP: lambda: spawn(runtime.on_hangup or partial(reload, runtime)),
        signal.SIGQUIT: lambda: None,
    }
    with signals_on_loop(handlers):
        # Not on the loop: the stacks are most useful when a handler blocks it.
        signal.signal(signal.SIGQUIT, lambda number, frame: dump(runtime, frame))
        for number in (signal.SIGTERM, signal.SIGINT):
            _hear_at_once(number, heard_at_once)
        yield


def _hear_at_once(number: signal.Signals, heard: StopSignals) -> None:
    """Note a signal when it arrives, and pass it on to the loop."""
    on_loop = signal.getsignal(number)

    def hear(number: int, frame: FrameType | None) -> None:
        heard.hear(number, time.monotonic())
        if callable(on_loop):
            on_loop(number, frame)

    signal.signal(number, hear)
    signal.siginterrupt(number, False)  # as the loop has it


async def _hurry(runtime: Runtime) -> None:
    try:
        await runtime.supervisor.stop(0.0)
    except TasukiError:
        pass  # the first stop, which this one shortens, reports it


async def reload(runtime: Runtime) -> None:
    """Reload the app and log the result; never raises TasukiError."""
    try:
        changes = await runtime.reload()
    except TasukiError as error:
        _log.error("reload refused, the old version goes on: %s", "; ".join(str(error).splitlines()))
    except Exception:  # a client that is not installed, a file that cannot be read
        _log.exception("reload refused, the old version goes on")
    else:
        _log.info("reloaded: %d added, %d removed, %d changed", len(changes.added), len(changes.removed),
                  len(changes.changed))  # fmt: skip
        if runtime.is_code:
            _log.warning("a running process keeps the Python code it has imported: restart it to take new code, "
                         "or run the app with 'tasuki run', which replaces it")  # fmt: skip


def dump(runtime: Runtime, here: FrameType | None) -> None:
    """Write the state of every service and worker to stderr; ``here``: this thread's frame."""
    out = sys.stderr
    for id, status in runtime.supervisor.states().items():
        print(f"{id}: {status.state.value}", file=out)
    for id, workers in runtime.assembly.workers.items() if runtime.assembly else ():
        print(f"{id}: {workers.running} of {workers.concurrency} shared workers are busy", file=out)
    for consumer in runtime.assembly.consumers.values() if runtime.assembly else ():
        now = consumer.now
        paused = f", paused {now.pause}" if now.pause is not None else ""
        print(f"{consumer.id}: {now.running} running, {now.held} held{paused}", file=out)
        counted = {name: n for name, n in consumer.metrics.as_dict().items() if isinstance(n, int) and n}
        print("  since the start: " + (", ".join(f"{name} {n}" for name, n in counted.items()) or "nothing"), file=out)
        for delivery, stack in stacks_of(now.workers, here):
            print(f"  message {escape(delivery.received.id)}, attempt {delivery.received.attempt}", file=out)
            print("".join("  " + line for line in traceback.format_list(stack)), file=out)
        print(recorded(consumer), file=out, end="")
