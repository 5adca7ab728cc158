"""Undoing: the letters of a batch that still wait where it has put them go back to their queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from tasuki.contracts.driver import Outgoing
from tasuki.dead.batches.batch_lease import LeasedBatch
from tasuki.dead.moving.places import Places, transfer
from tasuki.dead.rules import steps
from tasuki.dead.rules.forms import CHUNK, Note, restored
from tasuki.dead.walk import Search
from tasuki.errors import DriverError, MessageNotFoundError
from tasuki.message import BATCH, Message

_AT_ONCE = 10
"""Chunks whose letters are searched together."""


class Undoing:
    """Every verb may raise HaltedError and DriverError."""

    def __init__(self, leased: LeasedBatch, places: Places) -> None:
        self._leased, self._places = leased, places

    async def run(self) -> None:
        """Bring back what still waits; the batch is undone when this returns."""
        leased = self._leased
        if not leased.batch.is_back:
            await leased.write(steps.turned(leased.batch, await self._still_there()))
        names = await self._names()
        known: set[str] = set()
        is_short = False
        for first in range(0, leased.batch.chunks, _AT_ONCE):
            layers: dict[str, list[dict[str, Note]]] = {name: [] for name in names}
            for number in range(first, min(first + _AT_ONCE, leased.batch.chunks)):
                await leased.sure()
                found = await leased.batches.notes(leased.batch.id, number)
                is_short = is_short or not found
                known.update(found)
                for id, note in found.items():
                    for name in self._names_for(note, names):
                        lay(layers[name], id, note)
            for name in names:
                for layer in layers[name]:
                    await self._bring_from(name, layer)
        there = await self._still_there()
        finished = steps.finished(leased.batch, await leased.now(), there)
        if is_short:
            lost = max(finished.moved - len(known), 0)
            text = f"{lost:,} of its letters were moved more than two days ago, and are not brought back any more"
            finished = replace(finished, problem=text)
        await leased.end(finished)

    async def _bring_from(self, name: str, notes: Mapping[str, Note]) -> None:
        search = Search(self._places.driver, name, list(notes))
        while page := await search.page():
            mine = [each for each in page if each.headers.get(BATCH) == self._leased.batch.id]
            mine = [*reversed({each.id: each for each in reversed(mine)}.values())]
            for start in range(0, len(mine), CHUNK):
                await self._bring(name, mine[start : start + CHUNK], notes)

    async def _still_there(self) -> set[str]:
        """The letters in doubt that are in their queue: not moved yet, or back again."""
        batch, found = self._leased.batch, set[str]()
        search = Search(self._places.driver, self._places.source.spec.name, batch.doubt)
        while page := await search.page():
            await self._leased.sure()
            found |= {each.id for each in page if each.headers.get(BATCH) != batch.id}
        return found

    async def _names(self) -> list[str]:
        """The queues that have the letters, by their names at the broker."""
        batch = self._leased.batch
        if batch.act == "delete":
            await self._places.declare_trash()
            return [self._places.trash]
        return [queue.spec.name for queue in self._places.queues(batch.targets) if self._places.reaches(queue)]

    def _names_for(self, note: Note, names: list[str]) -> list[str]:
        """Where the letter of a note is: another one of its id may have gone to another queue."""
        batch, places = self._leased.batch, self._places
        if batch.act == "retry" and not batch.to and (home := places.home(note)) is not None:
            return [name for name in names if name == home.spec.name] or names
        return names

    async def _bring(self, name: str, chunk: Sequence[Message], notes: Mapping[str, Note]) -> None:
        leased, source = self._leased, self._places.source
        ids = [message.id for message in chunk]
        again = steps.again_of(leased.batch, ids)
        act, now = leased.batch.act, leased.clock.time()
        back = [restored(message, act, notes[message.id], source.spec, now) for message in chunk]
        await leased.announce(steps.about(leased.batch, ids))
        await leased.sure()

        async def carry(messages: Sequence[Outgoing]) -> list[DriverError | None]:
            return await transfer(source.driver, name, chunk, source.spec.name, messages)

        answers = await self._places.put(source, back, carry=carry)
        undone, trouble = 0, None
        for id, answer in zip(ids, answers, strict=True):
            if answer is None or (isinstance(answer, MessageNotFoundError) and id in again):
                undone += 1
            elif not isinstance(answer, MessageNotFoundError):
                trouble = answer
        settled = steps.settled(leased.batch, undone, 0, 0)
        await leased.write(replace(settled, problem=str(trouble) if trouble else settled.problem))
        if trouble is not None:
            raise trouble


def lay(layers: list[dict[str, Note]], id: str, note: Note) -> None:
    """Add a note to the first layer that has none of its id: the oldest letter of an id was moved first."""
    if (layer := next((each for each in layers if id not in each), None)) is None:
        layers.append(layer := {})
    layer[id] = note
