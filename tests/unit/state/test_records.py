"""Records that cannot be read: the error says of what, and that it is tried again."""

from __future__ import annotations

import pytest

from tasuki.consumers.handling import idempotency
from tasuki.errors import HandlerError
from tasuki.flow import records


@pytest.mark.parametrize("value", [b"", b"\xc1", b"\x81\xa5owner\x01", b"\x81\xa5owner\xa1\xff", b"\x91" * 5000])
@pytest.mark.parametrize(
    ("decode", "of"), [(records.decode, "the message's steps"), (idempotency.decode, "the idempotency key")]
)
def test_a_record_of_another_version_is_an_error_that_is_tried_again(decode: object, of: str, value: bytes) -> None:
    assert callable(decode)
    with pytest.raises(HandlerError) as told:
        decode(value)
    assert f"the record of {of} cannot be read, another version has written it" in told.value.message
    assert (told.value.kind, told.value.retryable) == ("Internal", True)
