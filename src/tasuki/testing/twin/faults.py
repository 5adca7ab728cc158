"""Faults that a test can cause in a twin: their state, which its drivers obey, and the verbs of the test."""

from __future__ import annotations

import asyncio
import functools
import inspect
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tasuki.testing.clock import FakeClock
from tasuki.testing.twin.driver import TwinDriver, twin_of
from tasuki.testing.twin.reading.journal import Journal
from tasuki.testing.twin.reading.verbs import Reading
from tasuki.units import Duration, parse_duration

if TYPE_CHECKING:
    from tasuki.app.handle import QueueHandle


class Faults:
    """Shared by the drivers of one twin, as they are in one process, and behind one network."""

    def __init__(self, clock: FakeClock, journal: Journal) -> None:
        self.clock = clock
        self.journal = journal
        self.drivers: list[TwinDriver] = []
        self.away_until = 0.0
        """Monotonic time until which the broker is away."""
        self.kills_left: dict[tuple[TwinDriver, str] | None, int] = {}
        """How many workers still die, by the queue whose message they handle; None: any queue."""
        self.is_killed = False
        """A worker has died, and no other one has taken its place yet."""
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def is_away(self) -> bool:
        """Whether the broker is away now."""
        return self.clock.monotonic() < self.away_until

    async def until_back(self) -> None:
        """Return when the broker is there."""
        if self.is_away:
            self._waiting.append(back := asyncio.get_running_loop().create_future())
            await back

    def time_has_passed(self) -> None:
        """Wake what waits for a time that has come. Only in the loop that waits."""
        if not self.is_away:
            self._go_on()
            for driver in self.drivers:
                driver.wake()

    def lose_connections(self) -> None:
        """The worker stops while the broker is away: its messages come back when their leases end."""
        for driver in self.drivers:
            driver.lose_deliveries()
        self._go_on()

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for back in waiting:
            if not back.done():
                back.set_result(None)

    def kills(self, queue: str, driver: TwinDriver, *, is_handled: bool) -> bool:
        """Whether the worker dies now, before the settlement of a message of that queue; then it has lost all."""
        if self.is_killed or not is_handled:
            return self.is_killed
        for which in ((driver, queue), None):
            if self.kills_left.get(which):
                self.kills_left[which] -= 1
                self.is_killed = True
                for each in self.drivers:  # also of the other queues: it is one process
                    each.lose_deliveries()
                self.journal.tell()
                return True
        return False

    def was_given_up(self, id: str) -> bool:
        """Whether the ack of a message follows its dead letter, on any driver; once for each dead letter."""
        holders = [driver for driver in self.drivers if id in driver.dead]
        for driver in holders:
            driver.dead.discard(id)
        return bool(holders)


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
