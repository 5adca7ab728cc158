"""The states of a subscription, as a table: each event in each state, and when messages may be handed out."""

from __future__ import annotations

from itertools import product

import pytest

from tasuki.drivers.amqp.receiving.states import (
    TABLE,
    Action,
    Event,
    Idle,
    State,
    Wants,
    is_surplus,
    lacks,
    may_hand_out,
    prefetch,
    step,
    when_idle,
)

EXPECTED = """
                  OPENED  WANTED            BEGUN   FAILED  STOP              STOPPED    LOST
NEW               STEADY  -                 -       -       NEW               NEW        OVER
STEADY            -       BEGINNING         -       -       ENDING            -          OVER
BEGINNING         -       BEGINNING         STEADY  STEADY  BEGINNING_TO_END  -          OVER
BEGINNING_TO_END  -       BEGINNING_TO_END  ENDING  ENDING  -                 BEGINNING  OVER
ENDING            -       ENDING            -       -       -                 STEADY     OVER
OVER              -       OVER              OVER    OVER    OVER              OVER       OVER
"""
"""The state that follows; -: it cannot happen."""

_HEAD, *_ROWS = [line.split() for line in EXPECTED.strip().splitlines()]
CELLS = [
    (State[row[0]], Event[event], next_state) for row in _ROWS for event, next_state in zip(_HEAD, row[1:], strict=True)
]

ACTIONS = {
    (State.STEADY, Event.WANTED): (Action.BEGIN,),
    (State.BEGINNING, Event.BEGUN): (Action.HAND_OUT, Action.CHECK),
    (State.BEGINNING, Event.FAILED): (Action.FORGET, Action.FAIL),
    (State.BEGINNING_TO_END, Event.BEGUN): (Action.HAND_OUT,),
    (State.BEGINNING_TO_END, Event.FAILED): (Action.FORGET, Action.FAIL),
    (State.ENDING, Event.STOPPED): (Action.HAND_OUT, Action.CHECK),
    (State.OVER, Event.WANTED): (Action.FAIL,),
}
"""What must be done; nothing about any other pair, but that LOST ends all."""


@pytest.mark.parametrize(("state", "event", "expected"), CELLS)
def test_each_event_in_each_state(state: State, event: Event, expected: str) -> None:
    if expected == "-":
        with pytest.raises(RuntimeError, match=f"{state.name} cannot be {event.name}"):
            step(state, event)
        return
    next_state, actions = step(state, event)
    assert next_state is State[expected]
    is_end = event is Event.LOST and state is not State.OVER
    assert actions == ((Action.FORGET, Action.FAIL) if is_end else ACTIONS.get((state, event), ()))


def test_the_table_has_all_pairs() -> None:
    assert {(state, event) for state, event, _ in CELLS} == set(product(State, Event))


def test_what_is_over_stays_over_and_nothing_begins_while_consumers_begin_or_end() -> None:
    for (state, event), (next_state, actions) in TABLE.items():
        assert state is not State.OVER or next_state is State.OVER
        if Action.BEGIN in actions:
            assert (state, event, next_state) == (State.STEADY, Event.WANTED, State.BEGINNING)


def test_every_wait_of_a_receive_ends() -> None:
    """Where it may want something, each way out serves it, checks what it wants or fails it."""
    waiting = {State.BEGINNING, State.BEGINNING_TO_END, State.ENDING}
    for (state, event), (next_state, actions) in TABLE.items():
        if state in waiting and next_state not in waiting:
            assert Action.FAIL in actions or {Action.HAND_OUT, Action.CHECK} <= set(actions), (state, event)


@pytest.mark.parametrize("state", State)
def test_messages_are_handed_out_where_nothing_can_be_missing(state: State) -> None:
    assert may_hand_out(state, is_looking_up=False) == (state is State.STEADY)
    assert not may_hand_out(state, is_looking_up=True)


@pytest.mark.parametrize(
    ("receives", "wanted", "unused", "held", "full", "most", "is_outdated", "is_lacking"),
    [
        (0, 0, 0, 0, [0], 100, False, False),
        (0, 0, 0, 0, [0], 100, True, False),
        (1, 5, 0, 0, [0], 100, False, True),
        (1, 5, 5, 0, [0], 100, False, False),
        (1, 5, 0, 0, [], 100, False, False),  # the broker would have pushed more
        (1, 5, 0, 5, [5], 100, False, True),
        (1, 5, 4, 1, [5], 100, False, True),
        (1, 5, 0, 5, [20, 5], 100, False, True),
        (1, 5, 0, 5, [10], 100, False, False),
        (1, 5, 5, 0, [5], 100, True, True),
        (1, 5, 0, 4, [4], 4, False, False),
    ],
)
def test_new_consumers_begin_where_the_receives_want_more(
    receives: int, wanted: int, unused: int, held: int, full: list[int], most: int, is_outdated: bool, is_lacking: bool
) -> None:
    wants = Wants(receives, wanted, unused, held)
    assert lacks(wants, full=full, most=most, is_outdated=is_outdated) == is_lacking


@pytest.mark.parametrize(
    ("wanted", "unused", "held", "taken", "expected"),
    [(10, 80, 10, 90, True), (10, 20, 10, 40, False), (10, 0, 10, 90, False), (10, 90, 0, 10, False)],
    ids=["a smaller window", "a little smaller", "nothing is left", "of many lanes"],
)
def test_far_more_than_the_receives_want_is_too_much(
    wanted: int, unused: int, held: int, taken: int, expected: bool
) -> None:
    assert is_surplus(Wants(1, wanted, unused, held), taken) is expected


@pytest.mark.parametrize(
    ("wanted", "held", "most", "expected"), [(5, 0, 100, 5), (5, 10, 100, 15), (5, 10, 12, 12), (0, 0, 100, 1)]
)
def test_new_consumers_have_room_beside_held_messages(wanted: int, held: int, most: int, expected: int) -> None:
    assert prefetch(Wants(1, wanted, 0, held), most) == expected


@pytest.mark.parametrize(
    ("is_waiting", "is_held", "unused", "is_consuming", "expected"),
    [
        (True, False, 0, True, Idle.WATCH),
        (True, True, 3, True, Idle.WATCH),
        (False, True, 0, True, Idle.WATCH),
        (False, True, 1, True, Idle.STOP),
        (False, True, 1, False, Idle.STOP),
        (False, False, 0, True, Idle.STOP),
        (False, False, 1, False, Idle.STOP),
        (False, False, 0, False, Idle.NOTHING),
    ],
)
def test_what_an_idle_subscription_does(
    is_waiting: bool, is_held: bool, unused: int, is_consuming: bool, expected: Idle
) -> None:
    assert when_idle(is_waiting=is_waiting, is_held=is_held, unused=unused, is_consuming=is_consuming) is expected
