"""What a run costs, on a machine with other work: that only makes a run dearer, so the least of some runs counts."""

from __future__ import annotations

MOST_RUNS = 3


class Least:
    """The least of each cost, over at most MOST_RUNS runs; ``bounds``: how much each may be.

    Run while ``is_open``, ``add`` what the run has cost, and ``check`` in the end. One run is enough if it keeps all
    bounds.
    """

    def __init__(self, **bounds: float) -> None:
        self.bounds = bounds
        self.costs: dict[str, float] = {}
        self._runs = 0

    @property
    def is_open(self) -> bool:
        """Whether another run is wanted."""
        return not self._runs or (self._runs < MOST_RUNS and bool(self._above()))

    def add(self, **costs: float) -> None:
        """The costs of a run, by the names of the bounds."""
        self._runs += 1
        self.costs = {name: min(cost, self.costs.get(name, cost)) for name, cost in costs.items()}

    def _above(self) -> dict[str, float]:
        return {name: cost for name, cost in self.costs.items() if cost > self.bounds[name]}

    def check(self) -> None:
        """Raise AssertionError if a cost is above its bound in all runs."""
        assert not self._above(), f"{self.costs} in the best of {self._runs} runs; at most {self.bounds}"
