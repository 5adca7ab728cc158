"""A few seconds of each fuzz target; Hypothesis prints the seed of a failure."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

SEEDS = Path(__file__).parent / "seeds"


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    for seed in sorted((SEEDS / name).iterdir()):
        TARGETS[name](seed.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_seeds(name: str) -> None:
    seeds = [seed.read_bytes() for seed in sorted((SEEDS / name).iterdir())]

    @given(st.sampled_from(seeds), st.integers(0, 200), st.integers(0, 20), st.binary(max_size=20))
    @settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def fuzz(seed: bytes, at: int, cut: int, new: bytes) -> None:
        TARGETS[name](seed[:at] + new + seed[at + cut :])

    fuzz()


@pytest.mark.parametrize("name", ["policy", "rights", "typed", "values"])
def test_what_is_made_of_choices(name: str) -> None:
    @given(st.binary(min_size=20, max_size=200))
    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def fuzz(data: bytes) -> None:
        TARGETS[name](data)

    fuzz()
