from tasuki.supervisor.state import State, may_follow


def test_every_state_but_unknown_can_be_reached_and_left() -> None:
    for state in State:
        assert any(may_follow(state, new) for new in State)
        assert state is State.UNKNOWN or any(may_follow(old, state) for old in State)


def test_no_state_follows_itself() -> None:
    assert not any(may_follow(state, state) for state in State)


def test_a_stopped_service_only_starts() -> None:
    assert [new for new in State if may_follow(State.STOPPED, new)] == [State.STARTING]
