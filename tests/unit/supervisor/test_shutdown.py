import pytest

from tasuki.errors import LifecycleError, StopTimeoutError
from tasuki.supervisor.supervisor import Shutdown, join_errors

LATE = StopTimeoutError("a is late", service="a")
LATE_TOO = StopTimeoutError("b is late", service="b")
BROKEN = LifecycleError("c is broken", service="c")


def test_none() -> None:
    assert join_errors([]) is None


def test_one_is_itself() -> None:
    assert join_errors([LATE]) is LATE


def test_only_late_ones_are_late_together() -> None:
    joined = join_errors([LATE, LATE_TOO])
    assert isinstance(joined, StopTimeoutError)
    assert str(joined) == "a is late; b is late"
    assert joined.service == "a, b"
    assert isinstance(joined.__cause__, ExceptionGroup)
    assert joined.__cause__.exceptions == (LATE, LATE_TOO)


def test_a_mixture_is_not_only_late() -> None:
    assert type(join_errors([LATE, BROKEN])) is LifecycleError


class BrokenController:
    needs_stop = True

    async def stop(self, timeout: float | None) -> None:
        raise ZeroDivisionError("a bug")


@pytest.mark.anyio
async def test_a_bug_in_one_stop_does_not_hold_up_the_others() -> None:
    errors = await Shutdown({}, {"a": BrokenController(), "b": BrokenController()}).run()  # type: ignore[dict-item]
    assert sorted(error.service for error in errors) == ["a", "b"]
    assert all(isinstance(error.__cause__, ZeroDivisionError) for error in errors)
