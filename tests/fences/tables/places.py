"""Mutants of the places and tokens of limits."""

from __future__ import annotations

from tests.fences.mutant import Mutant

PLACES = [
    Mutant(
        "a lost place is used for another message",
        "consumers/fetching/limited.py",
        "        places.give_lost(len(places) - self._window.held)\n",
        "",
        ("unit/consumers/test_places.py::test_a_lost_place_lets_no_other_message_start",),
    ),
    Mutant(
        "a place that could not be renewed is not lost",
        "consumers/fetching/limited.py",
        "self._held[holder] = asked + LEASE if is_held else 0.0",
        "self._held[holder] = asked + LEASE",
        ("unit/consumers/test_places.py::test_a_lost_place_lets_no_other_message_start",),
    ),
    Mutant(
        "a place is given back while it is renewed",
        "consumers/fetching/limited.py",
        "        async with self._turn_here():\n            if holder not in self._held or store is None:",
        "        async with asyncio.Lock():\n            if holder not in self._held or store is None:",
        ("unit/consumers/test_places.py::test_places_that_are_given_back_while_one_is_renewed_are_free",),
    ),
    Mutant(
        "a place that was given back is renewed",
        "consumers/fetching/limited.py",
        "if holder not in self._held or store is None:",
        "if store is None:",
        ("unit/consumers/test_places.py::test_places_that_are_given_back_while_one_is_renewed_are_free",),
    ),
    Mutant(
        "a place whose taking was interrupted is kept",
        "consumers/fetching/limited.py",
        "                self._let_go([holder])  # perhaps it was taken\n",
        "",
        ("unit/consumers/test_places.py::test_a_place_whose_taking_was_interrupted_is_given_back",),
    ),
    Mutant(
        "a settlement gives away a place that a receive has taken",
        "consumers/fetching/limited.py",
        "            self.places.give(len(self.places) - self._window.held - self._reserved)",
        "            self.places.give(len(self.places) - self._window.held)",
        ("unit/consumers/test_places.py::test_no_place_is_given_away_that_is_being_taken_for_a_message",),
    ),
    Mutant(
        "the token of a stale release is given back",
        "consumers/fetching/limited.py",
        "and not each.delay and each.receipt not in stale for each in batch)",
        "and not each.delay for each in batch)",
        ("unit/consumers/test_limited.py::test_a_message_that_never_started_gives_its_token_back",),
    ),
]
