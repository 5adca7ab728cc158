"""What ``make test`` leaves to the night is there, and the night runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tiers

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("path", [*tiers.FILES, *(f"faults/{name}" for name in tiers.FAULTS)])
def test_a_file_of_the_table_exists(path: str) -> None:
    assert (TESTS / path).is_file()


def test_files_of_the_table_and_most_faults_are_left_to_the_night() -> None:
    assert tiers.is_nightly(tiers.FILES[0])
    assert tiers.is_nightly("faults/redis/test_outages.py")
    assert not tiers.is_nightly(f"faults/{tiers.FAULTS[0]}")
    assert not tiers.is_nightly("faults/conftest.py")
    assert not tiers.is_nightly("unit/test_tiers.py")
