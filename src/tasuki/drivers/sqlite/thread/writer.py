"""The one thread that touches the database: it runs whatever has queued up as one transaction, then answers.

Nothing lingers: the next group is what came while the last one was committed. So one caller pays one commit, and five
hundred callers share one.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import inf
from typing import Any

from tasuki.clock import Clock
from tasuki.contracts.driver import QueueSpec, Release
from tasuki.drivers.sqlite.file import connections, errors
from tasuki.drivers.sqlite.file.database import Database
from tasuki.drivers.sqlite.state.changing import sweep
from tasuki.drivers.sqlite.thread.requests import Call, DeliveryCall, Receive, Request, Stop, answer, work_on
from tasuki.drivers.sqlite.thread.waiting_receives import NextWakeup, Pause, PollPacing, WaitingReceives
from tasuki.drivers.sqlite.thread.wakeup import Inbox
from tasuki.drivers.toolkit.guard import KnownQueues, not_open
from tasuki.errors import BrokerUnavailableError, DriverError, QueueFullError
from tasuki.system.threads import HelperThread

_log = logging.getLogger("tasuki.driver.sqlite")

SWEEP = 1.0
"""Seconds between checks for dead holders."""


class Writer:
    """Runs requests in groups, in its own thread."""

    _next_wakeup: NextWakeup
    """Of the newest connection."""

    def __init__(self, name: str, database: Database, clock: Clock, known: KnownQueues[QueueSpec]) -> None:
        self._name = name
        self._clock = clock
        self._known = known
        self._inbox = Inbox()
        self._waiting = WaitingReceives()
        self._database = database
        database.on_connect = self._reopened
        self._next_sweep, self._seen_version, self._wake_at = -1.0, -1, inf
        self._is_log_due = False
        self._pacing = PollPacing()
        self.at_work = threading.Lock()
        self._helper = HelperThread(f"tasuki-sqlite-{name}", self._run)

    # Called from event loops.

    def start(self) -> None:
        """Start the thread; the file is opened by the first request. Raises BrokerUnavailableError without a thread."""
        try:
            self._helper.start()
        except RuntimeError as error:
            raise BrokerUnavailableError(f"cannot start the thread that writes: {error}", driver=self._name) from error

    async def stop(self) -> None:
        """Release held messages, close the file, end the thread. A second call waits for the same end."""
        await self.submit(Stop())

    def submit(self, request: Request) -> asyncio.Future[Any]:
        """Queue a request; the future belongs to the calling loop."""
        future = request.future = asyncio.get_running_loop().create_future()
        self._post(request)
        return future

    def give_back(self, request: Request) -> None:
        """Release what a cancelled caller received; the delivery does not count."""
        if isinstance(request, Receive) and request.result:
            backs = [Release(received.receipt) for received in request.result]
            request.result = []
            self._post(DeliveryCall(request.queue, lambda store, number: store.settle(number, backs)))

    def forget_parent(self) -> sqlite3.Connection | None:
        """In a forked child: close the parent's locks, which the child shares; gives its connection, untouched."""
        self._database.folder.drop()
        self._inbox.forget_parent()
        return self._database.connection

    def _post(self, request: Request) -> None:
        if not self._inbox.put(request):
            self._refuse([request])

    def _refuse(self, requests: Sequence[Request]) -> None:
        for request in requests:
            if type(request) is not Stop:
                request.error = not_open(self._name, request.queue)
        self._answer(requests)

    def _answer(self, requests: Iterable[Request]) -> None:
        answer(requests, self.give_back)

    # The thread.

    def _run(self, helper: HelperThread) -> None:
        """Turn after turn, until a request to stop; after a failure outside the database it begins again."""
        stops: list[Request] = []
        while not stops:
            group: list[Request] = []
            try:
                group = self._next_group()
                stops = [request for request in group if type(request) is Stop]
                with self.at_work:
                    self._turn([request for request in group if type(request) is not Stop] if stops else group)
                helper.works()
            except Exception as error:
                group += self._inbox.rest()
                self._drop(group, error)
                stops = [request for request in group if type(request) is Stop]
                if not stops:
                    raise
        self._end(stops)

    def _drop(self, group: Sequence[Request], error: Exception) -> None:
        """Fail the waiting requests; they may have been carried out."""
        with suppress(Exception):
            if self._database.connection is not None:
                self._database.store.undo()
        with suppress(Exception):
            self._database.disconnect()
        left = [
            request for request in [*self._waiting, *group] if not request.is_answered and type(request) is not Stop
        ]
        self._waiting = WaitingReceives()
        for request in left:
            self.give_back(request)
        problem = f"the thread that writes failed and begins again: {type(error).__name__}: {error}"
        unavailable = BrokerUnavailableError(problem, outcome="unknown")
        unavailable.__cause__ = error
        self._fail(left, unavailable)

    def _end(self, stops: Sequence[Request]) -> None:
        # None of the waiting receives may take the messages that the end releases.
        waiting, self._waiting = self._waiting, WaitingReceives()
        try:
            with self.at_work:
                self._shut()
        except Exception:
            _log.exception("driver %r: the end failed", self._name)
        self._inbox.close()
        self._answer([*waiting, *stops])
        while late := self._inbox.rest():
            self._refuse(late)

    def _next_group(self) -> list[Request]:
        """Requests; none: there may be something to do without."""
        if not self._waiting:
            return self._inbox.get(None)
        pause = self._pause()
        if not pause.is_deep:
            return self._inbox.get(pause.seconds)
        try:
            if not self._inbox.sleep(self._database.folder.wakeup_file, pause.seconds):
                return self._inbox.rest()
            self._pacing.woke()
        except (OSError, ImportError) as problem:
            self._poll_only(str(problem))
        return self._inbox.get(self._pause().seconds)

    def _poll_only(self, why: str) -> None:
        self._pacing.must_poll = True
        self._inbox.stop_watching()
        _log.debug("driver %r polls for messages of other processes: %s", self._name, why)

    def _pause(self) -> Pause:
        """The wait until there is something to do without a new request."""
        until = min(self._next_sweep, self._wake_at, self._waiting.deadline)
        return self._pacing.pause(self._clock.monotonic(), until)

    def _turn(self, group: list[Request]) -> None:
        """Run the group and answer it; where it fails as a whole, find out whose fault it is."""
        if over := self._waiting.take_over(self._clock.monotonic()):
            self._answer(over)
        group = [request for request in group if not request.is_abandoned]
        try:
            group = self._admitted(group)
            if group or self._has_news():
                self._transact(group)
        except DriverError as error:
            self._recover(group, error)
        try:
            self._plan_next()
        except DriverError as error:
            self._fail([*self._waiting], error)

    def _recover(self, group: list[Request], error: DriverError) -> None:
        if isinstance(error, QueueFullError):
            self._fail([request for request in group if request.size], error)
            rest = [request for request in group if not request.size]
            try:
                with self._database.failing["rejected"]:
                    self._database.make_room()
                self._transact(rest)
            except DriverError as again:
                self._fail([*rest, *self._waiting], again)
        elif type(error) is not DriverError or not group:
            self._fail([*group, *self._waiting], error)
        elif len(group) == 1:
            self._fail(group, error)
        else:
            for request in group:
                self._turn([request])

    def _fail(self, requests: Sequence[Request], error: DriverError) -> None:
        for request in requests:
            request.error = type(error)(str(error), driver=self._name, queue=request.queue, outcome=error.outcome)
            request.error.__cause__ = error.__cause__
            if isinstance(request, Receive):
                self._waiting.discard(request)
        self._answer(requests)

    def _has_news(self) -> bool:
        """Whether a waiting receive could get something now; costs a few reads and no lock."""
        if not self._waiting:
            return False
        now = self._clock.monotonic()
        return self._check(now) or now >= min(self._next_sweep, self._wake_at)

    def _check(self, now: float) -> bool:
        """Whether others committed something that a waiting receive could get."""
        with self._database.failing["rejected"]:
            connection = self._database.connected()
            was_woken = self._inbox.was_touched()  # before the check, which may miss commits during it
            has_found = self._notice(connection)
        if not self._pacing.checked(now, was_woken=was_woken, has_found=has_found):
            self._poll_only("they came without a wake-up")
        return has_found

    def _notice(self, connection: sqlite3.Connection) -> bool:
        """Note what others committed since the last time; whether a waiting receive could get something of it."""
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version == self._seen_version:
            return False
        self._database.check_holder()
        self._seen_version = version
        ready, dues = self._next_wakeup.among(self._waiting.queues)
        self._waiting.change(ready)
        self._waiting.expect(dues)
        self._plan_wake()
        return bool(ready)

    def _transact(self, group: list[Request]) -> None:
        """One transaction: settle, publish, others, then receive, waiting ones first; answers after the commit."""
        with self._database.failing["rejected"]:
            connection = self._database.begin()
            store, changes = self._database.store, connection.total_changes
            self._notice(connection)
            # A late settlement or extension counts unless another process got the message: so first, then the sweep.
            if first := [request for request in group if request.order == 0]:
                work_on(store, first)
            self._sweep(connection)
            if len(first) < len(group):
                work_on(store, [request for request in group if request.order > 0])
            touched = store.queues.touched
            forgotten = {queue for queue in touched if queue not in self._known}
            receives = self._waiting.wanted(touched - forgotten, self._clock.time())
            receives += [request for request in group if isinstance(request, Receive)]
            taken = [receive.attempt(store) for receive in receives]
            dues = {receive.queue: self._next_wakeup.next_at(receive.queue) for receive in receives}
            store.save()
        with self._database.failing["unknown"]:
            self._database.commit()
        changes += sum(request.changes for request in group)  # which wake no process: its reader looks by itself
        if has_changed := connection.total_changes != changes:
            self._database.folder.notify()
        # Not before the commit: an uncommitted claim must not be released.
        for receive, messages in zip(receives, taken, strict=True):
            receive.result = messages or []
        self._waiting.tried(receives)
        self._waiting.expect(dues)
        served = [receive for receive in receives if receive.is_over]
        self._pacing.worked(self._clock.monotonic(), has_notified=has_changed, has_taken=bool(served))
        done = [request for request in group if not isinstance(request, Receive)]
        self._answer([*done, *served, *self._waiting.take_over(self._clock.monotonic(), forgotten)])

    def _plan_next(self) -> None:
        """Between transactions: note what comes next, and keep the log short."""
        if not self._waiting and not self._is_log_due:
            self._wake_at = inf
            return
        with self._database.failing["rejected"]:
            self._plan_wake()
            if self._is_log_due:
                self._is_log_due = False
                self._database.room.shrink_log(self._database.connected())

    def _sweep(self, connection: sqlite3.Connection) -> None:
        """Return messages that were held too long, or by a driver that died or ran before the machine restarted."""
        store, folder = self._database.store, self._database.folder
        store.expire()
        now = self._clock.monotonic()
        if now < self._next_sweep:
            return
        if self._next_sweep < 0:
            store.queues.delete_orphans()
        sweep(connection, self._clock.time())
        for tally in store.queues.with_limits():
            store.lanes.sweep(tally)
        self._waiting.prune()
        self._waiting.change(store.queues.moved(self._waiting.queues))
        self._next_sweep = now + SWEEP
        boot = connections.boot_id()
        for holder, name, its_boot in connection.execute("SELECT holder, name, boot FROM holders").fetchall():
            if holder != self._database.holder and (its_boot != boot or not folder.is_alive(name)):
                store.bury(holder)
                folder.remove(name)
        self._is_log_due = self._database.room.is_log_long()

    def _admitted(self, group: list[Request]) -> list[Request]:
        """The group, without what adds messages while the disk has no room for them."""
        adding = [request for request in group if request.size]
        if not adding:
            return group
        with self._database.failing["rejected"]:
            if self._database.room.admits(sum(request.size for request in adding), self._database.connected()):
                return group
        problem = f"SQLite file {self._database.path!r}: the disk is full; free some space, acks still go through"
        self._fail(adding, QueueFullError(problem, driver=self._name))
        return [request for request in group if not request.size]

    def _plan_wake(self) -> None:
        """Note when a waiting receive can have something, or the next lease ends, by the monotonic clock."""
        wait = inf
        if self._waiting:
            wait = min(self._waiting.due - self._clock.time(), self._next_wakeup.next_lease() - self._clock.boottime())
        self._wake_at = self._clock.monotonic() + max(wait, 0.0)

    def _reopened(self) -> None:
        """The file was opened: nothing that was seen before it holds."""
        self._next_sweep, self._seen_version = -1.0, -1
        self._next_wakeup = NextWakeup(self._database.store, self._clock)
        self._waiting.change(self._waiting.queues)
        self._inbox.stop_watching()  # the folder may be a new one
        self._pacing = PollPacing()

    def _shut(self) -> None:
        """Release the messages of this driver. If the file refuses, the end of the lock does the same."""
        if self._database.connection is not None:
            with suppress(DriverError):
                self._transact([Call("", lambda store, _: store.bury(self._database.holder))])
                errors.truncate_log(self._database.connected())
        self._database.disconnect()
        self._database.folder.leave()
