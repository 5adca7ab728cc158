from tasuki.consumers.fetching.window import MOST_PARKED, MOST_PARKED_BYTES, DeliveryWindow


def held(prefetch: int, count: int) -> DeliveryWindow:
    window = DeliveryWindow(prefetch)
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


def test_as_many_kept_ones_as_the_prefetch_take_no_place() -> None:
    window = held(10, 10)
    for _ in range(10):
        assert window.keep("kept", 1)
    assert (window.wanted(buffered=0), window.is_filled_by_kept) == (10, False)
    window.held = 20
    for _ in range(10):
        window.keep("kept", 1)
    assert (window.wanted(buffered=0), window.is_filled_by_kept) == (0, True)
    window.keep("ended", 1)
    assert not window.is_filled_by_kept


def test_what_is_owed_for_acked_ones_takes_places_as_kept_ones_do() -> None:
    window = held(10, 0)
    for _ in range(10):
        assert window.keep("owed", 1)
    assert (window.wanted(buffered=0), window.is_filled_by_kept) == (10, False)
    for _ in range(10):
        window.keep("owed", 1)
    assert (window.wanted(buffered=0), window.is_filled_by_kept) == (0, True)
    for _ in range(20):
        window.keep("paid", 1)
    assert (window.wanted(buffered=0), window.owed) == (10, 0)


def test_parked_ones_take_no_place_at_all() -> None:
    window = held(10, 300)
    for _ in range(300):
        window.keep("kept", 5)
        assert window.keep("parked", 5)
    assert (window.wanted(buffered=0), window.parked_bytes, window.is_filled_by_kept) == (10, 1500, False)
    for _ in range(300):
        window.keep("unparked", 5)
    assert (window.parked, window.parked_bytes, window.kept) == (0, 0, 0)


def test_neither_more_than_a_thousand_nor_more_than_64_mib_are_parked() -> None:
    window = held(10, 2000)
    window.kept = 2000
    assert window.keep("parked", MOST_PARKED_BYTES)
    assert not window.keep("parked", 1)
    window.keep("unparked", MOST_PARKED_BYTES)
    assert all(window.keep("parked", 1) for _ in range(MOST_PARKED))
    assert not window.keep("parked", 1)
