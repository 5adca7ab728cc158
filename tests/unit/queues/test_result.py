import pytest

from tasuki.errors import QueueFullError
from tasuki.queues.result import Confirmed, Rejected, Unknown


@pytest.mark.parametrize(
    "result",
    [Confirmed("1", "power"), Rejected("1", QueueFullError("full"), True), Unknown("1", QueueFullError("full"))],
)
def test_results_name_the_message_and_cannot_be_changed(result: Confirmed | Rejected | Unknown) -> None:
    assert result.id == "1"
    with pytest.raises(AttributeError):
        result.id = "2"  # type: ignore[misc]
