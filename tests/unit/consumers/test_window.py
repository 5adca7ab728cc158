from tasuki.consumers.fetching.window import Window


def held(prefetch: int, count: int) -> Window:
    window = Window(prefetch)
    window.held = count
    return window


def test_all_of_an_empty_window_is_wanted() -> None:
    assert held(10, 0).wanted(buffered=0) == 10


def test_a_full_window_wants_nothing() -> None:
    assert held(10, 10).wanted(buffered=0) == 0
    assert held(10, 10).wanted(buffered=9) == 0


def test_an_overfull_window_wants_nothing() -> None:
    assert held(10, 11).wanted(buffered=0) == 0


def test_with_work_in_the_buffer_a_quarter_is_asked_for_at_once() -> None:
    assert held(12, 10).wanted(buffered=1) == 0
    assert held(12, 9).wanted(buffered=1) == 3


def test_with_an_empty_buffer_any_room_is_used() -> None:
    assert held(12, 11).wanted(buffered=0) == 1


def test_a_window_of_one() -> None:
    assert held(1, 0).wanted(buffered=0) == 1
    assert held(1, 1).wanted(buffered=0) == 0
