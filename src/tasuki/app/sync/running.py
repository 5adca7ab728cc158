"""SyncApp: publish and act from code without an event loop: a WSGI application, a script, a thread."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from types import UnionType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from tasuki.app.handle import QueueHandle, id_of
from tasuki.contracts.state.store_handle import SyncStoreHandle
from tasuki.errors import LifecycleError, TasukiError
from tasuki.observe.tracebacks import cause_for_user, for_user
from tasuki.queues.result import PublishResult
from tasuki.system.loop_thread import LoopThread
from tasuki.system.tasks import OnFailure

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.app.app import App
    from tasuki.app.jobs import SyncJob
    from tasuki.app.runtime import Owner
    from tasuki.app.sync.faces import SyncDead, SyncJobs, SyncQueue, SyncSchedules, SyncWorkers
    from tasuki.app.typed.options import BatchOptions, ChainOptions, Headers, Named, RequestOptions
    from tasuki.contracts.state.following import Follower, Later, StartedGroup
    from tasuki.queues.queue import Envelope

T = TypeVar("T")

_AWAITED = "await the queue's own publish here"

_made: weakref.WeakSet[SyncApp] = weakref.WeakSet()
_inherited: list[object] = []
"""The parent process's, or a failed loop's: never used, and never freed, as that could close a connection there."""


def _abandon_parent() -> None:
    for sync in list(_made):
        sync.abandon_parent()


os.register_at_fork(after_in_child=_abandon_parent)


class SyncApp:
    """Runs each call on the loop of the open app, else on a loop in a thread, where it opens the app."""

    remedy = ""
    """What to write on an event loop, where that is not the awaited verb of the same name."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._thread: LoopThread | None = None
        _made.add(self)

    if not TYPE_CHECKING:  # a type checker reports the block itself

        def __enter__(self) -> NoReturn:
            raise TypeError("app.sync needs no block: write 'app.sync.publish(queue, body)', which opens the app")

        def __exit__(self, *exc: object) -> None:  # Python looks for both before it calls one
            """Never called."""

    def abandon_parent(self) -> None:
        """In a forked child, leave the loop and its connections to the parent; the next call opens the app again."""
        self._lock = threading.Lock()
        self._forget()

    def publish(
        self,
        queue: str | QueueHandle[T],
        body: T,
        headers: Headers = None,
        **options: Unpack[ChainOptions],
    ) -> SyncJob[Any]:
        """See :meth:`tasuki.App.publish`; a ``connection`` is synchronous, and used in this thread."""
        from tasuki.app.jobs import sync_job

        try:
            job = self._publish(self._app.publish(queue, body, headers, **options), options.get("connection"))
            return sync_job(job)
        except TasukiError as error:
            raise for_user(error) from cause_for_user(error)

    def request(
        self,
        queue: str | QueueHandle[T],
        body: T,
        headers: Headers = None,
        *,
        returns: type[Named] | UnionType | None = None,
        **options: Unpack[RequestOptions],
    ) -> Named:
        """See :meth:`tasuki.App.request`."""
        return self.run(self._app.request(queue, body, headers, returns=returns, **options))

    def publish_many(
        self, queue: str | QueueHandle[T], items: Sequence[T | Envelope[T]], **options: Unpack[BatchOptions]
    ) -> list[PublishResult]:
        """See :meth:`tasuki.queues.queue.Queue.publish_many`; ``connection`` as for ``publish``."""
        publishing = QueueHandle[T](self._app, id_of(queue)).publish_many(items, **options)
        return self._publish(publishing, options.get("connection"))

    def queue(self, queue: str | QueueHandle[Any]) -> SyncQueue:
        """A queue by id, name or handle; it is not declared."""
        from tasuki.app.sync.faces import SyncQueue

        return SyncQueue(QueueHandle[Any](self._app, id_of(queue)), self.run)

    @property
    def jobs(self) -> SyncJobs:
        """See :attr:`tasuki.App.jobs`."""
        from tasuki.app.sync.faces import SyncJobs

        return SyncJobs(self._app.jobs, self.run)

    @property
    def dead(self) -> SyncDead:
        """See :attr:`tasuki.App.dead`; ``progress`` is called in the thread of the app's loop."""
        from tasuki.app.sync.faces import SyncDead

        return SyncDead(self._app.dead, self.run)

    @property
    def schedules(self) -> SyncSchedules:
        """See :attr:`tasuki.App.schedules`."""
        from tasuki.app.sync.faces import SyncSchedules

        return SyncSchedules(self._app.schedules, self.run)

    @property
    def workers(self) -> SyncWorkers:
        """See :attr:`tasuki.App.workers`."""
        from tasuki.app.sync.faces import SyncWorkers

        return SyncWorkers(self._app.workers, self.run)

    def group(
        self,
        members: Iterable[Later],
        *,
        then: Follower | None = None,
        on_error: Follower | None = None,
        id: str | None = None,
    ) -> StartedGroup:
        """See :meth:`tasuki.App.group`."""
        return self.run(self._app.group(members, then=then, on_error=on_error, id=id))

    def signal(self, event: str, key: str | int, value: Any = True, *, actor: str | None = None) -> bool:
        """See :meth:`tasuki.App.signal`."""
        return self.run(self._app.signal(event, key, value, actor=actor))

    def call(self, function: str, *args: object) -> Any:
        """See :meth:`tasuki.App.call`."""
        return self.run(self._app.call(function, *args))

    def store(self, id: str) -> SyncStoreHandle:
        """See :meth:`tasuki.App.store`."""
        return SyncStoreHandle(self._app.store(id), self.run)

    def _publish(self, work: Coroutine[Any, Any, T], connection: object) -> T:
        if connection is None:
            return self.run(work)
        self._open_for(work)
        return _at_once(work)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the app's loop, with the app open, and wait for its result."""
        home = self._open_for(work)
        if isinstance(home, asyncio.AbstractEventLoop):
            return asyncio.run_coroutine_threadsafe(work, home).result()
        return home.run(work)

    def close(self) -> None:
        """Close the app if ``sync`` has opened it, and end the thread. Idempotent; also done at exit."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is None:
            return
        atexit.unregister(self.close)
        try:
            if thread.failure is None:
                thread.run(self._app.close())
        finally:
            _end(thread)

    def _open_for(self, work: Coroutine[Any, Any, Any]) -> Owner | LoopThread | asyncio.AbstractEventLoop:
        try:
            return self._open_loop()
        except BaseException:
            work.close()
            raise

    def _open_loop(self) -> Owner | LoopThread | asyncio.AbstractEventLoop:
        with suppress(RuntimeError):  # there is none
            asyncio.get_running_loop()
            raise LifecycleError(f"app.sync would block the event loop: {self.remedy or _AWAITED}")
        if self._app._runtime.owner is not None:
            return self._app._runtime.owner
        with self._lock:
            if self._thread is not None and self._thread.failure is not None:
                _end(self._thread)
                self._forget()
            if self._thread is None:
                loop = self._app._runtime.loop
                if loop is not None and not loop.is_closed():
                    _refuse_idle(loop)
                    return loop  # open elsewhere: a worker whose sync handler publishes
                self._thread = self._open()
                atexit.register(self.close)
            return self._thread

    def _open(self) -> LoopThread:
        """Open the app on a loop in a thread."""
        thread = LoopThread("tasuki sync", _failed)
        with OnFailure(lambda: _end(thread)):
            thread.run(self._app.open())
        return thread

    def _forget(self) -> None:
        if self._thread is not None:
            atexit.unregister(self.close)
        _inherited.append((self._thread, self._app._runtime.forget()))
        self._thread = None


def _refuse_idle(loop: asyncio.AbstractEventLoop) -> None:
    """Raise LifecycleError for a loop that would never run the call."""
    if not loop.is_running():
        raise LifecycleError(
            "the app is open in an event loop that does not run now, so app.sync would wait forever: close the app "
            "there first (await app.close()), or run that loop in another thread"
        )


def _end(thread: LoopThread) -> None:
    thread.stop()
    thread.join()


def _failed(problem: str, is_begun: bool) -> LifecycleError:
    return LifecycleError(f"the event loop of app.sync has failed; the next call starts another ({problem})")


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, in this thread, as its connection may be bound to the thread."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise LifecycleError("app.sync takes a synchronous connection: with this one await the queue's own publish")
