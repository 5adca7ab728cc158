"""Records of jobs as they are read."""

from __future__ import annotations

import pytest

from tasuki.state.job_records import decode


@pytest.mark.parametrize(
    "value", [b"", b"\xff", b"\x81\xa6status\xa2\xff\xff", b"\x81\xa1x" + b"\x91" * 100_000], ids=len
)
def test_a_record_that_cannot_be_read_is_none(value: bytes) -> None:
    assert decode(value) is None
