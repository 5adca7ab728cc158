"""Faults that a test can cause in a twin; its drivers obey their state."""

from __future__ import annotations

import functools
import inspect
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tasuki.testing.twin.driver import twin_of
from tasuki.testing.twin.reading.verbs import Reading
from tasuki.units import Duration, parse_duration

if TYPE_CHECKING:
    from tasuki.app.handle import QueueHandle


class Patch:
    """A context manager that replaces an attribute: its first ``times`` calls raise ``error``, later ones work."""

    def __init__(
        self,
        target: object,
        name: str,
        error: type[BaseException] | BaseException,
        times: int | None,
        expected: list[BaseException],
    ) -> None:
        self.calls = 0
        """Calls so far, also those that worked."""
        self._target, self._name = target, name
        self._error, self._times = error, times
        self._expected = expected
        self._original = getattr(target, name)
        self._is_bound = isinstance(inspect.getattr_static(target, name), staticmethod | classmethod)
        self._was_own = name in vars(target)
        self._own = vars(target).get(name)

    def __enter__(self) -> Self:
        wrapped = self._wrapped()
        is_bound = self._is_bound and isinstance(self._target, type)
        setattr(self._target, self._name, staticmethod(wrapped) if is_bound else wrapped)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._was_own:
            setattr(self._target, self._name, self._own)
        else:
            delattr(self._target, self._name)

    def _wrapped(self) -> Any:
        original = self._original

        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def failing_async(*args: Any, **kwargs: Any) -> Any:
                self._count()
                return await original(*args, **kwargs)

            return failing_async

        @functools.wraps(original)
        def failing(*args: Any, **kwargs: Any) -> Any:
            self._count()
            return original(*args, **kwargs)

        return failing

    def _count(self) -> None:
        self.calls += 1
        if self._times is not None and self.calls > self._times:
            return
        error = self._error() if isinstance(self._error, type) else self._error
        self._expected.append(error)
        raise error


class Faulty(Reading):
    """Faults on demand, as brokers and machines have them, at the worst moment."""

    def patch(
        self, target: object, name: str, error: type[BaseException] | BaseException, *, times: int | None = None
    ) -> Patch:
        """Let ``target.name`` raise ``error`` within a block, the first ``times`` calls or all; then it works again.

        ``with t.patch(smtp, "send", ConnectionError, times=2):``. Works for plain and async functions. These errors are
        expected: ``strict`` does not raise them. The block's value counts ``calls``.

        Raises:
            AttributeError: there is no such attribute.
        """
        return Patch(target, name, error, times, self._session.journal.expected)

    def kill_worker(self, queue: str | QueueHandle[Any] | None = None, *, times: int = 1) -> None:
        """Let the worker die when the next handler (of this queue) has ended, before the broker takes its settlement.

        The worker loses all that it held; another one takes its place. The lost messages come back when their lease has
        ended (30 seconds, if the queue states no other): ``advance`` to then. Shows handlers that are not idempotent.
        """
        self._session.refuse_faults("kill_worker")
        where = None
        if queue is not None:
            target = self._queue_of(queue)
            where = twin_of(target), target.spec.name
        kills = self._session.faults.kills_left
        kills[where] = kills.get(where, 0) + times

    def duplicate(self, id: str) -> None:
        """Deliver a message once more, wherever it is now, as brokers do at times.

        Raises:
            ValueError: the application has not published a message of this id.
        """
        self._session.refuse_faults("duplicate")
        for queue, sent in self._session.journal.published.items():
            again = [message for message in sent if message.id == id][:1]
            if again:
                target = self._queue_of(queue)
                twin_of(target).deliver_again(target.spec.name, again)
                return
        raise ValueError(f"no message {id!r} was published: take an id of t.messages(queue)")

    def reorder(self, queue: str | QueueHandle[Any]) -> None:
        """Reverse the order of the receivable messages of a queue: most brokers promise none.

        Raises:
            ValueError: the queue promises order per key.
        """
        self._session.refuse_faults("reorder")
        target = self._queue_of(queue)
        if target.spec.ordering == "key":
            raise ValueError(f"queue {target.id!r} has ordering: key, which every driver keeps: it cannot be reordered")
        twin_of(target).reorder(target.spec.name)

    def broker_away(self, duration: Duration) -> None:
        """Let all brokers be away for so much virtual time: publishing raises BrokerUnavailableError until then.

        Raises:
            ValueError: not a duration.
        """
        self._session.refuse_faults("broker_away")
        faults = self._session.faults
        faults.away_until = faults.clock.monotonic() + parse_duration(duration)
