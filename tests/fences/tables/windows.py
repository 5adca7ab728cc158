"""Mutants of the claims of unique windows, and of the heartbeat of a fleet."""

from __future__ import annotations

from tests.fences.mutant import Mutant

WINDOWS = [
    Mutant(
        "two publishes claim a key at the same time",
        "queues/unique_windows.py",
        "claim.value, version=expected, ttl=ttl)",
        "claim.value, ttl=ttl)",
        ("unit/queues/test_unique_claims.py::test_another_publish_waits_and_is_kept_once_the_message_is_stored",),
    ),
    Mutant(
        "a message counts as stored whose publish has only begun",
        "queues/unique_windows.py",
        "        if state == _KEPT:\n",
        "        if state == _KEPT or id != claim.id:\n",
        (
            "unit/queues/test_unique_claims.py::test_a_publisher_killed_between_key_and_message_holds_up_others_for_a_moment_only",
        ),
    ),
    Mutant(
        "the claim of a killed publisher lasts as long as its window",
        "queues/unique_windows.py",
        "take(store, claim, left + _MARGIN)",
        "take(store, claim, unique.span)",
        ("unit/queues/test_unique.py::test_after_an_unknown_publish_no_other_is_confirmed_in_its_favour",),
    ),
    Mutant(
        "a publish keeps a key that another one has claimed since",
        "queues/unique_windows.py",
        "await store.put(claim.key, _KEPT + claim.id, version=version, ttl=claim.span)",
        "await store.put(claim.key, _KEPT + claim.id, ttl=claim.span)",
        (
            "unit/queues/test_unique_claims.py::test_a_publisher_that_stood_still_for_longer_than_its_claim_leaves_the_key_to_the_next_message",
        ),
    ),
    Mutant(
        "a publish that met another claim keeps the key all the same",
        "queues/unique_windows.py",
        "        if entry is not None and _read(entry.value)[1] != claim.id:\n            return\n",
        "",
        (
            "unit/queues/test_unique_claims.py::test_a_publisher_that_stood_still_for_longer_than_its_claim_leaves_the_key_to_the_next_message",
        ),
    ),
    Mutant(
        "a rejected publish frees a key that another one has claimed since",
        "queues/unique_windows.py",
        "await store.delete(claim.key, version=version)",
        "await store.delete(claim.key)",
        (
            "unit/queues/test_unique_claims.py::test_a_publisher_that_stood_still_for_longer_than_its_claim_leaves_the_key_to_the_next_message",
        ),
    ),
    Mutant(
        "a rejected publish frees the key of another one",
        "queues/unique_windows.py",
        "if entry is not None and entry.value == claim.value else 0",
        "if entry is not None else 0",
        ("unit/queues/test_unique_claims.py::test_a_late_give_back_leaves_what_another_publish_has_claimed",),
    ),
    Mutant(
        "a suspension of all processes is taken for one of a child",
        "supervisor/children/asking.py",
        "        if now - self._looked_at > self._limits.silent / 4:\n            self._watched_since = now\n",
        "",
        ("unit/supervisor/children/test_asking.py::test_silence_while_this_process_was_suspended_does_not_count",),
    ),
]
