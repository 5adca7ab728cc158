"""Batches of transfers: refuses some at once, sends the others to the broker together, and answers for each."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from tasuki.contracts.driver import Outgoing, Transfer
from tasuki.contracts.results import Results, answer
from tasuki.drivers.toolkit.bounds import check_bounds
from tasuki.drivers.toolkit.moves import MAX_BYTES
from tasuki.drivers.toolkit.results import full
from tasuki.errors import DriverError, MessageNotFoundError

MISSING, FULL = 1, 2
"""What became of a transfer, as brokers answer; 0: done."""
Outcome = int | DriverError | None

P = TypeVar("P")
"""Where a message is in its queue, as the driver names it."""


class Found(NamedTuple, Generic[P]):
    """One transfer for the broker: the message of this place and id leaves, and ``message`` is stored for it."""

    place: P
    id: str
    message: Outgoing


_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
Find = Callable[[Mapping[str, float]], Awaitable[Mapping[str, Sequence[P]]]]
"""The places of waiting messages of these ids, the oldest first: of each at least so many, if there are."""
Carry = Callable[[str, Sequence[Found[P]]], Awaitable[Sequence[Outcome]]]
"""Transfers to one queue, of which no place is named twice; gives one outcome each."""


class Transfers(Generic[P]):
    """A batch on its way. It finds the places that are not named, then it makes the transfers of each target.

    Args:
        driver: its name, for errors.
        queue: where the messages are.
        batch: the transfers.
        refuse: why one cannot be tried, if it cannot.
    """

    def __init__(
        self,
        driver: str,
        queue: str,
        batch: Sequence[Transfer],
        refuse: Callable[[str, Outgoing], DriverError | None] = lambda _, __: None,
    ) -> None:
        self._driver, self._queue, self._batch = driver, queue, batch
        self._results: list[DriverError | None] = [None] * len(batch)
        self._messages: dict[int, Outgoing] = {}
        for index, transfer in enumerate(batch):
            message = _stored_always(transfer.message)
            try:
                check_bounds((message,), driver=driver, queue=transfer.to)
                refusal = refuse(transfer.to, message)
            except DriverError as error:
                refusal = error
            if refusal is None and not storable((transfer.id,)):
                refusal = _missing(transfer.id, driver=driver, queue=queue)
            if refusal is None:
                self._messages[index] = message
            else:
                self._results[index] = refusal

    async def run(self, place_in: Callable[[str], P | None], find: Find[P], carry: Carry[P]) -> Results:
        """Make them; the results as ``Driver.transfer`` gives them.

        ``place_in``: the place that a text names; None: there is no such place.
        """
        tried = [(index, self._batch[index]) for index in self._messages]
        named = {each.place: place_in(each.place) for _, each in tried if each.place}
        places = await self._places(find, {*named.values()})
        found: dict[int, Found[P]] = {}
        for index, each in tried:
            place = named.pop(each.place, None) if each.place else next(places[each.id], None)
            if place is None:  # also the second transfer that names it
                self._tell(index, MISSING)
            else:
                found[index] = Found(place, each.id, self._messages[index])
        await self._carry(found, carry)
        return answer(self._results)

    async def _places(self, find: Find[P], named: Collection[P | None]) -> dict[str, Iterator[P]]:
        """The places for transfers that name an id alone, without the ``named`` ones."""
        ids = [self._batch[index].id for index in self._messages]
        alone = {each.id for each in self._batch if not each.place}.intersection(ids)
        found = await find(Counter(id for id in ids if id in alone)) if alone else {}
        return {id: iter([place for place in found.get(id, ()) if place not in named]) for id in alone}

    async def _carry(self, found: Mapping[int, Found[P]], carry: Carry[P]) -> None:
        for to, part in self._parts(found):
            try:
                told = await carry(to, [found[index] for index in part])
            except DriverError as error:
                told = [error] * len(part)
            for index, outcome in zip(part, told, strict=True):
                self._tell(index, outcome)

    def _tell(self, index: int, outcome: Outcome) -> None:
        transfer = self._batch[index]
        error = outcome if isinstance(outcome, DriverError) else None
        if outcome == MISSING:
            error = _missing(transfer.id, driver=self._driver, queue=self._queue)
        elif outcome == FULL:
            error = full(transfer.to, None, driver=self._driver)
        self._results[index] = error

    def _parts(self, indexes: Iterable[int]) -> Iterator[tuple[str, list[int]]]:
        """The transfers of each target, a bounded number of bytes at a time."""
        targets: defaultdict[str, list[int]] = defaultdict(list)
        for index in indexes:
            targets[self._batch[index].to].append(index)
        for to, mine in targets.items():
            part: list[int] = []
            size = 0
            for index in mine:
                size += len(self._messages[index].body)
                if part and size > MAX_BYTES:
                    yield to, part
                    part, size = [], len(self._messages[index].body)
                part.append(index)
            yield to, part


def number_in(place: str) -> int | None:
    """The number that a place is at a driver that counts its messages; None: it is none."""
    return int(place) if _NUMBER.fullmatch(place) else None


def storable(ids: Iterable[str]) -> list[str]:
    """The ids that a message can have at any broker: those that UTF-8 can encode."""
    return [id for id in ids if not any("\ud800" <= character <= "\udfff" for character in id)]


def _stored_always(message: Outgoing) -> Outgoing:
    """The message, stored whatever the queue remembers of its id (50)."""
    if not message.deduplicate:
        return message
    return msgspec.structs.replace(message, deduplicate=False)


def _missing(id: str, *, driver: str, queue: str) -> MessageNotFoundError:
    problem = f"no message {id!r} waits in queue {queue!r}: it is gone, or a consumer holds it"
    return MessageNotFoundError(problem, driver=driver, queue=queue)
