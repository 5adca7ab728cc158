"""The states of a subscription: what may happen in each, what follows, and when messages may be handed out.

Pure: ``consuming`` reports the events and carries the actions out. A pair of state and event that the table lacks
cannot happen; ``step`` refuses it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum, auto
from typing import NamedTuple


class State(Enum):
    """Where a subscription is in its life."""

    NEW = auto()
    """It has no channel yet."""
    STEADY = auto()
    """Its consumers stand at the broker, or it has none."""
    BEGINNING = auto()
    """New consumers replace the old ones; the first messages to arrive may not be the first in order."""
    BEGINNING_TO_END = auto()
    """The same, and ``stop`` waits until they stand: consumers never begin and end at the same time."""
    ENDING = auto()
    """The consumers end; what arrives meanwhile is the rest of what the broker pushed."""
    OVER = auto()
    """The channel is gone, and the broker has all that was unsettled on it."""


class Event(Enum):
    """What happens to a subscription."""

    OPENED = auto()
    """Its channel is open."""
    WANTED = auto()
    """The waiting receives want more than the broker may push; see ``lacks``."""
    BEGUN = auto()
    """The new consumers stand, and what the broker had to give them is here."""
    FAILED = auto()
    """They could not begin; the requests sent may still take effect."""
    STOP = auto()
    """``stop`` was called."""
    STOPPED = auto()
    """``stop`` returns, fails or is cancelled."""
    LOST = auto()
    """The channel is gone, or is given up."""


class Action(Enum):
    """What must be done about an event, in the state that follows it."""

    BEGIN = auto()
    """Begin consumers for what the receives want."""
    HAND_OUT = auto()
    """Serve the waiting receives."""
    CHECK = auto()
    """Check whether they want still more."""
    FORGET = auto()
    """Do not rely on any consumer: the next receive begins new ones."""
    FAIL = auto()
    """End the waiting receives with the reason."""


Step = tuple[State, tuple[Action, ...]]

_FAILED = (Action.FORGET, Action.FAIL)

TABLE: Mapping[tuple[State, Event], Step] = {
    (State.NEW, Event.OPENED): (State.STEADY, ()),
    (State.NEW, Event.STOP): (State.NEW, ()),
    (State.NEW, Event.STOPPED): (State.NEW, ()),
    (State.STEADY, Event.WANTED): (State.BEGINNING, (Action.BEGIN,)),
    (State.STEADY, Event.STOP): (State.ENDING, ()),
    (State.BEGINNING, Event.WANTED): (State.BEGINNING, ()),
    (State.BEGINNING, Event.BEGUN): (State.STEADY, (Action.HAND_OUT, Action.CHECK)),
    (State.BEGINNING, Event.FAILED): (State.STEADY, _FAILED),
    (State.BEGINNING, Event.STOP): (State.BEGINNING_TO_END, ()),
    (State.BEGINNING_TO_END, Event.WANTED): (State.BEGINNING_TO_END, ()),
    (State.BEGINNING_TO_END, Event.BEGUN): (State.ENDING, (Action.HAND_OUT,)),
    (State.BEGINNING_TO_END, Event.FAILED): (State.ENDING, _FAILED),
    (State.BEGINNING_TO_END, Event.STOPPED): (State.BEGINNING, ()),
    (State.ENDING, Event.WANTED): (State.ENDING, ()),
    (State.ENDING, Event.STOPPED): (State.STEADY, (Action.HAND_OUT, Action.CHECK)),
    # A lost channel is the end in every state; after it, waiting receives fail, and nothing else changes.
    **{(state, Event.LOST): (State.OVER, _FAILED) for state in State},
    **{(State.OVER, event): (State.OVER, ()) for event in Event if event is not Event.OPENED},
    (State.OVER, Event.WANTED): (State.OVER, (Action.FAIL,)),
}


def step(state: State, event: Event) -> Step:
    """The next state, and the actions to carry out in it. Raises RuntimeError for an event that cannot happen."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise RuntimeError(f"a subscription that is {state.name} cannot be {event.name}") from None


def may_hand_out(state: State, *, is_looking_up: bool) -> bool:
    """Whether all that must be handed out first is here.

    Not while consumers begin or end, and not while ``lookups`` ask for recorded failures: others would pass.
    """
    return state is State.STEADY and not is_looking_up


class Wants(NamedTuple):
    """How many messages the waiting receives want, and how many are here for them."""

    receives: int
    wanted: int
    """Messages that the receives would take."""
    unused: int
    """Messages that are here and not handed out."""
    held: int
    """Messages that are handed out and not settled."""


def lacks(wants: Wants, *, full: Collection[int], most: int, is_outdated: bool) -> bool:
    """Whether consumers must begin: the receives want more than the broker may push, or of other lanes.

    Args:
        wants: what the receives want.
        full: the prefetch of each consumer that has all that it is allowed.
        most: the largest prefetch that is allowed.
        is_outdated: whether the consumers do not match the queue's lanes.
    """
    if not wants.receives:
        return False
    return is_outdated or (wants.unused < wants.wanted and min(full, default=most) < prefetch(wants, most))


def prefetch(wants: Wants, most: int) -> int:
    """The prefetch of new consumers: room for the messages that the receives want, beside the held ones.

    Such consumers stand: they push one more message for each that is settled.
    """
    return max(min(wants.wanted + wants.held, most), 1)


def is_surplus(wants: Wants, taken: int) -> bool:
    """Whether a consumer has far more messages than the receives want: they would wait while others could have them."""
    return wants.unused > 0 and taken > 2 * (wants.wanted + wants.held)


class Idle(Enum):
    """What to do when no receive has come for a while."""

    WATCH = auto()
    """Check again in a while."""
    STOP = auto()
    """End the consumers, and return what lies unused."""
    NOTHING = auto()
    """There is nothing to end."""


def when_idle(*, is_waiting: bool, is_held: bool, unused: int, is_consuming: bool) -> Idle:
    """Stop consuming, unless a receive waits, or all that is here is in use.

    Consumers that are full, or have room and nothing unused here, keep no message from other processes.
    """
    if is_waiting or (is_held and not unused):
        return Idle.WATCH
    return Idle.STOP if is_consuming or unused else Idle.NOTHING
