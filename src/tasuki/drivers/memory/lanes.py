"""Lanes: which lane gives the next message (clauses 43 to 45); decides, and never waits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import chain, count
from math import inf

from tasuki.contracts.driver import Limit
from tasuki.drivers.memory.ranks import Rank, Ranks
from tasuki.drivers.memory.slots import Slot
from tasuki.drivers.toolkit import limits


class Lane:
    """The messages of one value of a limit's key that can be handed out, and how many of it are held.

    It is in turn, or it rests: until a time, or until something happens to it.
    """

    __slots__ = ("held", "is_in_turn", "keeps_turn", "name", "ranks", "tat", "turn", "until")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ranks = Ranks()
        self.held = 0
        self.tat = -inf
        self.turn = 0
        self.is_in_turn = False
        self.keeps_turn = False
        """Whether it was in turn before all lanes were put in order again."""
        self.until = inf
        """Where it rests: until when it does."""


Timed = list[tuple[float, int, Lane]]


class Lanes:
    """The lanes of one queue. One that rests costs a ``take`` nothing, however long it is."""

    def __init__(self, limit: Limit | None, fair: int) -> None:
        self._limit = limit or limits.NONE
        self._fair = fair
        self._lanes: dict[str, Lane] = {}
        self._turn = 0
        """The one that is served, or was last."""
        self._numbers = count()
        self._in_turn: list[tuple[int, int, Lane]] = []
        """By turn; of equal ones, the first to come."""
        self._waiting: Timed = []
        """Lanes that rest with messages, by the time at which their rate gives the next one."""
        self._fading: Timed = []
        """Lanes that are empty, by the time at which they may be forgotten."""

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Slot]:
        by_turn = sorted(self._lanes.values(), key=lambda lane: lane.turn)
        return chain.from_iterable(lane.ranks for lane in by_turn)

    def change(self, limit: Limit | None, fair: int, now: float) -> None:
        """Go on by other options; what each lane owes stays owed."""
        old, self._limit = self._limit, limit or limits.NONE
        self._begin()
        for lane in self._lanes.values():
            lane.tat = limits.changed(old, self._limit, lane.tat, now)
            if fair != self._fair:  # turns are as far apart as the larger share allows
                lane.turn = self._turn
        self._fair = fair
        self.stir()

    def clear(self, held: Iterable[str]) -> None:
        """Have only held messages, whose lanes are these; each keeps its turn and what it owes until ``stir``."""
        for lane in self._lanes.values():
            lane.ranks, lane.held = Ranks(), 0
        for name in held:
            self._lane(name).held += 1
        self._begin()

    def stir(self) -> None:
        """Let each lane go where it belongs: those that are empty too, which keep no turn.

        The others go on without it: later it would lie behind theirs, and give messages until it has caught up.
        """
        for lane in [*self._lanes.values()]:
            self._stir(lane)
            lane.keeps_turn = False

    def put(self, name: str, slot: Slot) -> None:
        """Add a message that can be handed out."""
        lane = self._lane(name)
        lane.ranks.put(slot)
        self._stir(lane)

    def freed(self, name: str) -> None:
        """Know that a message of this lane is held no more."""
        lane = self._lane(name)
        lane.held -= 1
        self._stir(lane)

    def give_back(self, name: str) -> None:
        """Know that a held message, which is to be freed next, never began."""
        lane = self._lane(name)
        lane.tat = limits.given_back(self._limit, lane.tat)

    def take(self, limit: int, now: float) -> list[Slot]:
        """Remove up to this many messages, lane by lane."""
        self._look(now)
        taken: list[Slot] = []
        while self._in_turn and len(taken) < limit:
            lane = self._first()
            room = limits.room(self._limit, lane.tat, now, lane.held)
            got = lane.ranks.take(min(self._fair, limit - len(taken), room))
            lane.held += len(got)
            lane.tat = limits.spent(self._limit, lane.tat, now, len(got))
            lane.turn += len(got)
            taken += got
            self._rest_or_stay(lane, now)
        return taken

    def next_at(self, now: float) -> float:
        """When a lane can give a message: ``now``, a later time, or never by itself (inf)."""
        self._look(now)
        if self._in_turn:
            return now
        while self._waiting and not _is_valid(*self._waiting[0]):
            heappop(self._waiting)
        return self._waiting[0][0] if self._waiting else inf

    def ranks(self) -> Iterator[Rank]:
        """One for each priority of each lane."""
        return chain.from_iterable(lane.ranks.ranks() for lane in self._lanes.values())

    def oldest(self) -> float | None:
        """When the oldest message was published, of those that can be handed out or wait for a limit."""
        found = (lane.ranks.oldest() for lane in self._lanes.values())
        return min((each for each in found if each is not None), default=None)

    def _lane(self, name: str) -> Lane:
        if (lane := self._lanes.get(name)) is None:
            lane = self._lanes[name] = Lane(name)
        return lane

    def _begin(self) -> None:
        if self._in_turn:
            self._turn = self._in_turn[0][0]
        self._in_turn, self._waiting, self._fading = [], [], []
        for lane in self._lanes.values():
            lane.keeps_turn = lane.is_in_turn
            lane.is_in_turn = False

    def _stir(self, lane: Lane) -> None:
        """Something happened to it: let it come to life, if it has messages; whether it has room is seen later."""
        if lane.is_in_turn:
            return
        if lane.ranks:
            if not lane.keeps_turn:
                # A turn behind the one that is served: so lanes that come repeatedly hold up none.
                lane.turn = (self._in_turn[0][0] if self._in_turn else self._turn) + self._fair
            self._join(lane)
        elif not lane.held:
            self._fade(lane)

    def _join(self, lane: Lane) -> None:
        lane.is_in_turn, lane.keeps_turn = True, False
        heappush(self._in_turn, (lane.turn, next(self._numbers), lane))

    def _first(self) -> Lane:
        """Take the first one out of turn."""
        self._turn, _, lane = heappop(self._in_turn)
        lane.is_in_turn = False
        return lane

    def _rest_or_stay(self, lane: Lane, now: float) -> None:
        """After it was served: without a message it rests until something happens."""
        lane.until = limits.opens_at(self._limit, lane.tat, now, lane.held) if lane.ranks else inf
        if lane.until <= now:
            self._join(lane)
        elif lane.until < inf:
            heappush(self._waiting, (lane.until, next(self._numbers), lane))

    def _fade(self, lane: Lane) -> None:
        """Forget it once it owes nothing: earlier would give it a second burst."""
        if lane.tat == -inf:
            del self._lanes[lane.name]
            return
        lane.until = lane.tat
        heappush(self._fading, (lane.tat, next(self._numbers), lane))

    def _look(self, now: float) -> None:
        """Let lanes go where they belong by now."""
        while self._waiting and self._waiting[0][0] <= now:
            if _is_valid(*(entry := heappop(self._waiting))):
                self._stir(entry[2])
        while self._fading and self._fading[0][0] <= now:
            lane = (entry := heappop(self._fading))[2]
            is_empty = not lane.ranks and not lane.held and _is_valid(*entry)
            if is_empty and self._lanes.get(lane.name) is lane:
                del self._lanes[lane.name]
        while self._in_turn and not self._has_room(self._in_turn[0][2], now):
            self._rest_or_stay(self._first(), now)

    def _has_room(self, lane: Lane, now: float) -> bool:
        return limits.room(self._limit, lane.tat, now, lane.held) > 0


def _is_valid(at: float, _: int, lane: Lane) -> bool:
    """Whether a lane still rests until the time that was noted."""
    return not lane.is_in_turn and lane.until == at
