"""TestApp: an app of yours in a test: on the memory driver, in virtual time, with faults; or on its own drivers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType, UnionType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, overload

from tasuki.app import App
from tasuki.testing.clock import EPOCH, FakeClock
from tasuki.testing.inline import InlineSession
from tasuki.testing.twin.faults import Faulty
from tasuki.testing.twin.reading.records import Drained
from tasuki.testing.twin.session import Session, refuse_loop
from tasuki.testing.twin.sync import SyncTestApp
from tasuki.testing.twin.target import load_target
from tasuki.testing.twin.work import STEPS
from tasuki.units import Duration, parse_duration

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.app.handle import QueueHandle
    from tasuki.app.jobs import Job
    from tasuki.app.tasks import Sender
    from tasuki.app.typed.options import Headers, Named, PublishOptions, RequestOptions
    from tasuki.message import HeaderValue
    from tasuki.testing.twin.handlers import Function

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class TestApp(Faulty):
    """A twin of an app for one test, within ``async with TestApp(app) as t:`` (``with`` in a test without a loop).

    The code under test goes on using its own app, queue handles and ``app.sync``: within the block they reach the twin,
    with the memory driver in the place of each driver; after it, their own drivers again. Consumers run only while the
    test waits for ``drain``, ``advance`` or ``request``, so nothing happens between two lines of a test.

    Time is virtual: delays, retries, times to live and leases follow the twin's clock, which only ``advance`` and
    ``request`` move. What a handler itself waits for (``asyncio.sleep``, a socket) takes the time of the event loop;
    ``handler_timeout`` counts in it.

    With ``real=True`` the app keeps its own drivers and real time, for the same tests against a real broker.
    """

    __test__ = False  # for pytest: not a class of tests

    def __init__(
        self,
        app: App | Path | str,
        *,
        strict: bool = False,
        now: datetime | None = None,
        real: bool = False,
        inline: bool = False,
        patience: Duration = 30.0,
    ) -> None:
        """Prepare a twin; nothing happens yet.

        Args:
            app: the App, ``package.module:app``, or the folder or file of a YAML project.
            strict: raise at the end, or collect in a group, the handlers' errors that the test has not read.
            now: what the clock shows first, with a time zone; default a moment of November 2023.
            real: keep the app's own drivers and real time. ``drain`` and ``advance`` wait for what happens, and return
                as soon as nothing more is due; faults on demand are refused, as is a wait of more than a minute.
            inline: run plain functions in the thread of the test, one after the other, in place of threads of a
                worker: they see its transaction and its thread-local values. For tests without an event loop.
            patience: longest real time without an event, for which ``drain``, ``advance`` and ``request`` wait.

        Raises:
            TasukiError: the target cannot be loaded.
            ValueError: ``now`` has no time zone, or comes with ``real``, as does ``inline``.
        """
        if real and inline:
            raise ValueError("real=True needs threads beside the test: leave out inline, or real")
        if now is not None and now.tzinfo is None:
            raise ValueError("now needs a time zone: datetime(2026, 1, 31, 9, tzinfo=UTC)")
        if now is not None and real:
            raise ValueError("real=True keeps real time: leave out now, or real")
        self.app = load_target(app)
        self.strict = strict
        self._session = _session(self.app, _clock(now), parse_duration(patience), real=real, inline=inline)
        self.sync = SyncTestApp(self._session)
        """``drain``, ``advance``, ``publish``, ``request`` and ``run`` for a test without an event loop."""

    @property
    def clock(self) -> FakeClock:
        """The twin's clock. Raises LifecycleError with ``real``."""
        self._session.refuse_faults("clock")
        return self._session.faults.clock

    async def drain(self, *, steps: int = STEPS) -> Drained:
        """Handle everything that is due now, and all that follows from it; delayed messages stay.

        Raises:
            NotSettled: after ``steps`` deliveries there is still more to handle, or nothing happened for ``patience``;
                the message says why each waits.
            LifecycleError: a drain is under way already.
            HandlerError: a handler cannot be loaded.
        """
        return await self._session.work.drain(steps)

    async def advance(self, duration: Duration, *, steps: int = STEPS) -> Drained:
        """Drain, and let time pass (``5m``, seconds, a ``timedelta``): messages are handled in order of time.

        Raises:
            NotSettled, LifecycleError, HandlerError: as ``drain``; ValueError: not a duration.
        """
        return await self._session.work.advance(parse_duration(duration), steps)

    async def publish(
        self, queue: str | QueueHandle[T], body: T, headers: Headers = None, **options: Unpack[PublishOptions]
    ) -> Job[Any]:
        """See :meth:`tasuki.App.publish`; the same as a publish of the code under test."""
        return await self.app.publish(queue, body, headers, **options)

    async def request(
        self,
        queue: str | QueueHandle[T],
        body: T,
        headers: Headers = None,
        *,
        returns: type[Named] | UnionType | None = None,
        **options: Unpack[RequestOptions],
    ) -> Named:
        """See :meth:`tasuki.App.request`; the consumers run meanwhile, and ``timeout`` is virtual time.

        A request of the code under test does the same.
        """
        return await self.app.request(queue, body, headers, returns=returns, **options)

    @overload
    async def run(self, task: Sender[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def run(
        self,
        handler: str | Function,
        body: object,
        headers: Mapping[str, HeaderValue] | None = None,
        /,
        *,
        attempt: int = 1,
    ) -> Any: ...
    async def run(self, handler: Any, /, *args: Any, **options: Any) -> Any:
        """Call one handler as a delivery would, with injection; returns or raises what it does.

        No queue takes part, and no middleware. What it publishes reaches the twin.

        Args:
            handler: the function, or the name or id of its entry; or a task.
            args: of a task its own arguments; else the body, which is encoded and decoded as its queue does (for a
                handler of batches the list of the bodies), and the headers of the message. A task's
                message has the headers of ``task.with_options``.
            options: ``attempt``: what ``context.attempt`` says.

        Raises:
            HandlerNotFoundError: the app has no such handler.
            HandlerError: it takes batches, and the body is no list.
            BodyTypeError: the arguments do not fit the task.
        """
        return await self._session.handle(handler, *args, **options)

    def provide(self, type_: object, value: object) -> None:
        """Give handlers this object wherever they are provided with one of the type, in place of the app's own.

        Args:
            type_: as the app's provider says it.
            value: given to all messages from now on; nothing closes it.

        Raises:
            ValueError: the app provides no such type.
            HandlerError: a provider cannot be used.
        """
        self._session.provide(type_, value)

    async def __aenter__(self) -> Self:
        await self._session.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._session.leave()
        finally:
            self._session.close_loop()
        self._check_read(error)

    def __enter__(self) -> Self:
        refuse_loop("with TestApp(…)", "async with TestApp(…)")
        try:
            self._session.run(self._session.enter())
        except BaseException:
            self._session.close_loop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._session.run(self._session.leave())
        finally:
            self._session.close_loop()
        self._check_read(error)

    def _check_read(self, error: BaseException | None) -> None:
        """Raise the handlers' errors that the test has not read, unless it fails anyway."""
        unread = self.errors if self.strict and error is None else []
        for failure in unread:
            failure.error.add_note(
                f"a handler raised this for message {failure.message} of {failure.queue}, and the test has not read "
                "t.errors or t.dead"
            )
        if len(unread) == 1:
            raise unread[0].error
        if unread:
            raise ExceptionGroup("errors of handlers that the test has not read", [each.error for each in unread])


def _clock(now: datetime | None) -> FakeClock:
    return FakeClock(EPOCH if now is None else now.timestamp())


def _session(app: App, clock: FakeClock, patience: float, *, real: bool, inline: bool) -> Session:
    if real:
        from tasuki.testing.real.session import RealSession

        return RealSession(app, patience)
    return InlineSession(app, clock, patience) if inline else Session(app, clock, patience)
