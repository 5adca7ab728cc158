"""DryStore: a store in memory that begins with the real entries; writes stay in it, and are recorded."""

from __future__ import annotations

from typing import Any

from tasuki.consumers.handling.idempotency import ONCE
from tasuki.contracts.state.store import Entry, Grant, Page
from tasuki.errors import HandlerError
from tasuki.flow.group_records import GROUPS, MEMBERS
from tasuki.flow.records import RUNS, decode, result_of
from tasuki.flow.signals import SIGNALS, WAITS
from tasuki.handlers.store_values import unpack
from tasuki.state.job_records import RESULTS
from tasuki.state.pauses import PAUSE, SCALE, read_pause
from tasuki.state.shared import CONTROL, STATE
from tasuki.state.worker_record import PRESENCE
from tasuki.testing.dry_run.real import RealStores
from tasuki.testing.dry_run.recorder import Recorder
from tasuki.testing.twin.driver import TwinStore

_FACTS = (RUNS, ONCE, SIGNALS)
"""State of messages that the run goes on from; it is recorded by its own names."""
_STEERED = (CONTROL + PAUSE, CONTROL + SCALE)
_NOT_READ = (
    CONTROL, PRESENCE, RESULTS, GROUPS, MEMBERS, WAITS, "limit/", "answer/", "cancelled/", "attempts/", "batch/",
    "batches/", "edit/", "history/", "audit/",
)  # fmt: skip
"""State of workers and queues in a store that handlers use too: it must neither hold up the run nor change by it."""


class DryStore(TwinStore):
    """See the module. ``real`` reads the store that it stands for."""

    def prepare(self, real: RealStores, recorder: Recorder, known: set[str]) -> DryStore:
        """Read from there, and record here; ``known``: keys and, with ``*`` at the end, prefixes that were read."""
        self._real, self._recorder, self._known = real, recorder, known
        return self

    def _is_ours(self, key: str) -> bool:
        """Whether the key is neither the user's nor about a message."""
        return key.startswith(_NOT_READ) or (self.name == STATE and not key.startswith(_FACTS))

    async def _read(self, key: str) -> None:
        """Let the shelf have the real entry of a key, unless it was changed here."""
        if key in self._known or self._is_ours(key):
            return
        self._known.add(key)
        if (entry := await self._real.get(self.driver, self.name, key)) is not None:
            self._take_over(entry)
            if key.startswith(RUNS):
                self._known |= {f"{key} {step.name}" for step in decode(entry.value).steps}  # done before

    def _take_over(self, entry: Entry) -> None:
        with self._shelf.lock:
            self._shelf.write(entry.key, entry.value, float("inf"))

    def _note(self, verb: str, key: str, **facts: Any) -> None:
        if key.startswith(RUNS) and verb == "put":
            self._tell_steps(key)
        elif key.startswith(_STEERED):
            self._tell_control(verb, key)
        if not key.startswith(_FACTS) and not self._is_ours(key):
            self._recorder.add("store", store=f"{self.driver}/{self.name}", verb=verb, key=key, **facts)

    def _tell_steps(self, key: str) -> None:
        """The steps and the sleep of a message that this record has, and no earlier one."""
        item = self._shelf.items[key]
        record = decode(item.value)
        for step in record.steps:
            if self._is_new(key, step.name):
                self._recorder.add("step", name=step.name, result=result_of(step))
        for pause in record.pauses:
            if self._is_new(key, pause.name):
                self._recorder.add("sleep", name=pause.name, seconds=pause.until - pause.since)

    def _tell_control(self, verb: str, key: str) -> None:
        """A pause, a scale, or their end."""
        what, _, name = key.removeprefix(CONTROL).partition("/")
        if verb == "delete":
            self._recorder.add("resume", of=name)
        elif what == "scale":
            self._recorder.add("scale", of=name)
        else:
            pause = read_pause(self._shelf.items[key].value)
            self._recorder.add("pause", of=name, reason=pause.reason, until=pause.until)

    def _is_new(self, key: str, name: str) -> bool:
        """Whether a step of this name is new."""
        mark = f"{key} {name}"
        is_new = mark not in self._known
        self._known.add(mark)
        return is_new

    async def get(self, key: str) -> Entry | None:
        """See Store."""
        await self._read(key)
        return await super().get(key)

    async def put(self, key: str, value: bytes, *, ttl: float | None = None, version: int | None = None) -> int:
        """See Store."""
        await self._read(key)
        number = await super().put(key, value, ttl=ttl, version=version)
        self._note("put", key, value=_value(key, value), ttl=ttl)
        return number

    async def delete(self, key: str, *, version: int | None = None) -> bool:
        """See Store."""
        await self._read(key)
        was_there = await super().delete(key, version=version)
        self._note("delete", key, was_there=was_there)
        return was_there

    async def list(self, prefix: str = "", *, after: str = "", limit: int = 100) -> Page:
        """See Store; of the real entries the first thousand."""
        if f"{prefix}*" not in self._known and not self._is_ours(prefix):
            self._known.add(f"{prefix}*")
            for entry in await self._real.entries(self.driver, self.name, prefix):
                if entry.key not in self._known and not self._is_ours(entry.key):
                    self._known.add(entry.key)
                    self._take_over(entry)
        return await super().list(prefix, after=after, limit=limit)

    async def take(self, key: str, tokens: int, *, rate: float, burst: int) -> Grant:
        """See Store."""
        self._note("take", key, tokens=tokens)
        return await super().take(key, tokens, rate=rate, burst=burst)

    async def hold(self, key: str, holder: str, *, places: int, lease: float) -> float | None:
        """See Store."""
        self._note("hold", key, places=places)
        return await super().hold(key, holder, places=places, lease=lease)


def _value(key: str, value: bytes) -> object:
    try:
        return unpack(key, value)
    except HandlerError:
        return value
