"""Mutants of the lanes of the memory driver, from within."""

from __future__ import annotations

from typing import ClassVar

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.memory.lanes import Lane, Lanes
from tasuki.drivers.memory.queue import MemoryQueue
from tasuki.drivers.memory.slots import Slot


class _OtherLanes(MemoryDriver):
    lanes: ClassVar[type[Lanes]]

    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(spec)
        if (lanes := self._queues[spec.name].lanes) is not None:
            lanes.__class__ = self.lanes


class _FirstLanes(Lanes):
    def _stir(self, lane: Lane) -> None:
        lane.turn, lane.keeps_turn = self._in_turn[0][0] if self._in_turn else self._turn, True
        super()._stir(lane)


class _OldLanes(Lanes):
    def _stir(self, lane: Lane) -> None:
        lane.keeps_turn = lane.turn > 0
        self._turn = 0
        super()._stir(lane)


class _ForgetfulLanes(Lanes):
    def _fade(self, lane: Lane) -> None:
        del self._lanes[lane.name]


class _DeafLanes(Lanes):
    def freed(self, name: str) -> None:
        self._lane(name).held -= 1


class _RestartedLanes(Lanes):
    def _begin(self) -> None:
        self._in_turn, self._turn = [], 0
        for lane in self._lanes.values():
            lane.is_in_turn = False
        super()._begin()


class _ArrearsLanes(Lanes):
    def stir(self) -> None:
        kept = [lane for lane in self._lanes.values() if lane.keeps_turn and not lane.ranks]
        super().stir()
        for lane in kept:
            lane.keeps_turn = True

    def _begin(self) -> None:
        kept = [lane for lane in self._lanes.values() if lane.keeps_turn]
        super()._begin()
        for lane in kept:
            lane.keeps_turn = True


class ANewLaneGoesFirst(_OtherLanes):
    lanes = _FirstLanes


class ALaneGoesOnWhereItWas(_OtherLanes):
    """However far behind it the new ones begin."""

    lanes = _OldLanes


class ALaneThatWasEmptiedKeepsItsTurn(_OtherLanes):
    lanes = _ArrearsLanes


class ALaneIsForgottenWithWhatItOwes(_OtherLanes):
    lanes = _ForgetfulLanes


class ALaneThatRestsIsNotStirred(_OtherLanes):
    lanes = _DeafLanes


class ARemovalStartsTurnsAnew(_OtherLanes):
    lanes = _RestartedLanes


class AnotherRateLeavesTheTime(MemoryDriver):
    async def declare(self, spec: QueueSpec) -> None:
        tat = self._queues[spec.name].tat if spec.name in self._queues else None
        await super().declare(spec)
        if tat is not None:
            self._queues[spec.name].tat = tat


class _LineOfBefore(MemoryQueue):
    last_of_before = 0

    def declare(self, spec: QueueSpec, now: float) -> None:
        if spec.fair and not self.spec.fair:
            self.last_of_before = max((slot.number for slot in self.peek()), default=0)
        super().declare(spec, now)

    def _lane_of(self, slot: Slot) -> str:
        return "" if slot.number <= self.last_of_before else super()._lane_of(slot)


class KeysOfBeforeAreOneLane(MemoryDriver):
    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(spec)
        self._queues[spec.name].__class__ = _LineOfBefore
