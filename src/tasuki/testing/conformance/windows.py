"""Whether a history of tokens, or of messages, has kept to a rate: in every window, by one clock."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple


class Taken(NamedTuple):
    """Tokens that were granted between two readings of one clock."""

    before: float
    after: float
    tokens: int


def check_windows(taken: Sequence[Taken], rate: float, burst: int) -> None:
    """In no window are more tokens than the burst and what came meanwhile; counts only those taken surely within it."""
    for start in {each.before for each in taken}:
        within = sorted((each.after, each.tokens) for each in taken if each.before >= start)
        for (end, _), total in zip(within, accumulate(tokens for _, tokens in within), strict=True):
            most = burst + rate * (end - start)
            assert total <= most + 0.01, f"{total} tokens in {end - start:.4f} s, {most:.3f} at most"
