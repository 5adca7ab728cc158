"""A folder for each queue, a file for each message."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from urllib.parse import quote
from uuid import uuid4

import msgspec

from directory_driver.entry import Entry, Step, entries_in
from directory_driver.settings import DirectorySettings
from tasuki.clock import Clock
from tasuki.contracts import driver as contract
from tasuki.drivers.toolkit.guard import Guard, not_declared
from tasuki.drivers.toolkit.results import check_bounds
from tasuki.drivers.toolkit.wait_list import WaitList
from tasuki.errors import BrokerUnavailableError, DriverError, Outcome, UnsupportedError


class DirectoryDriver(contract.Driver):
    capabilities = contract.Capabilities(
        "process",
        frozenset({"ordered", "leases", "exact_depth"}),
    )

    def __init__(self, name: str, settings: DirectorySettings, clock: Clock) -> None:
        super().__init__(name)
        self._root, self._poll_interval, self._clock = Path(settings.path), settings.poll_interval, clock
        self._known: dict[str, contract.QueueSpec | None] = {}  # declared queues; None: one that was only inspected
        self._guard: Guard[dict[tuple[str, contract.Receipt], Entry]] = Guard(name)  # what this process holds
        self._waiting: dict[str, WaitList[bool]] = defaultdict(WaitList)
        self._lock = Lock()  # extend is called on another thread
        self._latest = 0

    async def open(self) -> None:
        if self._guard.current is None:
            with self._errors():
                self._root.mkdir(parents=True, exist_ok=True)
            self._guard.opened({})
            for spec in filter(None, self._known.values()):
                await self.declare(spec)

    async def close(self) -> None:
        for queue, receipt in list(self._guard.current or ()):
            with suppress(DriverError):  # then the lease ends later
                self._step(queue, [(receipt, "extend", self._clock.time())])
        self._guard.closed()
        for waiting in self._waiting.values():
            waiting.wake_all(True)

    async def declare(self, spec: contract.QueueSpec) -> None:
        if spec.ordering != "none" or spec.max_length is not None or spec.dedup_window is not None:
            problem = f"queue {spec.name!r}: a directory has no order per key, max_length or dedup_window; remove it"
            raise UnsupportedError(problem, driver=self.name, queue=spec.name)
        if self._guard.current is not None:
            with self._errors(spec.name):
                self._folder(spec.name).mkdir(exist_ok=True)
                self._draft(spec.name, spec).rename(self._folder(spec.name) / ".spec")
        self._known[spec.name] = spec

    async def inspect(self, spec: contract.QueueSpec) -> contract.QueueSpec:
        self._known.setdefault(spec.name, None)
        return self._spec(spec.name)

    async def undeclare(self, queue: str) -> None:
        self._known.pop(queue, None)
        self._waiting.pop(queue, WaitList()).wake_all(True)

    async def delete(self, queue: str) -> None:
        self._spec(queue)
        with self._errors(queue):
            shutil.rmtree(self._folder(queue).rename(self._root / f".{uuid4().hex}"))
        await self.undeclare(queue)

    async def publish(self, queue: str, batch: Sequence[contract.Outgoing]) -> Sequence[DriverError | None]:
        self._spec(queue)
        check_bounds(batch, driver=self.name, queue=queue)
        with self._errors(queue):
            drafts = [self._draft(queue, (sent.id, sent.body, sent.headers), sent.delay) for sent in batch]
        with self._errors(queue, "unknown"):  # some may be stored
            for draft in drafts:
                self._latest = max(self._latest + 1, int(self._clock.time() * 1e9))
                draft.rename(self._folder(queue) / str(Entry(f"{self._latest:020d}-{uuid4().hex}")))
                self._waiting[queue].wake(True)
        return ()

    async def receive(self, queue: str, limit: int, wait: float) -> list[contract.Received]:
        loop, waiting = asyncio.get_running_loop(), self._waiting[queue]
        end = loop.time() + wait
        while not (taken := self._take(queue, limit)) and limit > 0 and (left := end - loop.time()) > 0:
            await waiting.wait(waiting.add(), min(left, self._poll_interval))
        return taken

    def _take(self, queue: str, limit: int) -> list[contract.Received]:
        folder, lease, now = self._folder(queue), self._spec(queue).lease, self._clock.time()
        taken: list[contract.Received] = []
        with self._errors(queue):
            for entry in (entry for entry, due in entries_in(folder) if due <= now):
                if len(taken) == limit:
                    break
                held = entry.taken()
                with suppress(FileNotFoundError):  # another process has it
                    os.utime(folder / str(entry), (now + lease, now + lease))  # first, so that no other process sees it
                    data = (folder / str(entry)).rename(folder / str(held)).read_bytes()
                    self._guard.get(queue)[queue, str(held)] = held
                    id, body, headers = msgspec.msgpack.decode(data)
                    attempt, is_suspect = held.failures + 1, bool(held.suspect)
                    taken.append(contract.Received(id, body, headers, str(held), attempt, is_suspect))
        return taken

    async def start(self, queue: str, batch: Sequence[contract.Receipt]) -> Sequence[contract.Receipt]:
        due = self._clock.time() + self._spec(queue).lease
        return self._step(queue, [(receipt, "start", due) for receipt in batch])

    async def extend(self, queue: str, batch: Sequence[contract.Receipt], lease: float) -> Sequence[contract.Receipt]:
        return self._step(queue, [(receipt, "extend", self._clock.time() + lease) for receipt in batch])

    async def settle(self, queue: str, batch: Sequence[contract.Settlement]) -> Sequence[contract.Receipt]:
        now = self._clock.time()
        return self._step(queue, [(one.receipt, one, now + getattr(one, "delay", 0.0)) for one in batch])

    def _step(self, queue: str, steps: Iterable[tuple[contract.Receipt, Step, float]]) -> list[contract.Receipt]:
        """Change the names of the files of held messages, and their times; returns the receipts that are stale."""
        held, folder = self._guard.get(queue), self._folder(queue)
        self._spec(queue, is_known=any(name == queue for name, _ in list(held)))
        stale = []
        with self._lock, self._errors(queue):
            for receipt, step, due in steps:
                try:
                    entry = held.pop((queue, receipt))
                    file, then = folder / str(entry), entry.after(step)
                    if then is None:
                        file.unlink()
                    else:
                        os.utime(file.rename(folder / str(then)), (due, due))
                except (KeyError, FileNotFoundError):
                    stale.append(receipt)
                    continue
                if then is not None and then.turn == entry.turn:
                    held[queue, receipt] = then
                else:
                    self._waiting[queue].wake(True)
        return stale

    async def depth(self, queue: str) -> contract.Depth:
        self._spec(queue)
        with self._errors(queue):
            now, entries = self._clock.time(), list(entries_in(self._folder(queue)))
        ready = [entry for entry, due in entries if due <= now]
        held = sum(entry.turn % 2 for entry, due in entries if due > now)
        age = now - int(ready[0].place.split("-")[0]) / 1e9 if ready else None
        return contract.Depth(len(ready), held, len(entries) - len(ready) - held, age)

    def _spec(self, queue: str, *, is_known: bool = False) -> contract.QueueSpec:
        """The options in force, which another process may have changed."""
        self._guard.get(queue)
        with self._errors(queue):
            self._root.stat()  # fails if no queue can be used
            if is_known or queue in self._known:
                with suppress(FileNotFoundError):
                    return msgspec.msgpack.decode((self._folder(queue) / ".spec").read_bytes(), type=contract.QueueSpec)
        raise not_declared(self.name, queue)

    def _folder(self, queue: str) -> Path:
        return self._root / f"{quote(queue, safe='')}.queue"

    def _draft(self, queue: str, data: object, delay: float = 0.0) -> Path:
        """A file that has no name yet, so that a reader finds a whole file or none."""
        draft, due = self._folder(queue) / f".{uuid4().hex}", self._clock.time() + delay
        draft.write_bytes(msgspec.msgpack.encode(data))
        os.utime(draft, (due, due))
        return draft

    @contextmanager
    def _errors(self, queue: str = "", outcome: Outcome = "rejected") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            problem = f"driver {self.name!r}: the directory cannot be used: {error}"
            raise BrokerUnavailableError(problem, driver=self.name, queue=queue, outcome=outcome) from error
