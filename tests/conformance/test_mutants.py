"""The suite notices: mutants of the memory driver from within, and the mutants of any driver on one with a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasuki.contracts.driver import (
    Capabilities,
)
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.testing.conformance import DriverConformance, ShiftedClock
from tasuki.testing.mutants import MUTANTS, Mutant, Unbroken, noticed
from tests.conformance import memory_lane_mutants, memory_mutants
from tests.conformance.mutate import suite_of

SQLITE = suite_of("sqlite")
CASES = sorted({name for mutant in MUTANTS for name in mutant.noticed_by})


INNER = [
    mutant
    for module in (memory_mutants, memory_lane_mutants)
    for mutant in vars(module).values()
    if isinstance(mutant, type) and mutant.__module__ == module.__name__ and mutant.__name__[0] != "_"
]

NOTICED_BY = {
    "ALaneGoesOnWhereItWas": "test_44_a_lane_that_was_full_need_not_wait_for_newer_ones",
    "ALaneIsForgottenWithWhatItOwes": "test_43_a_spent_lane_holds_up_no_other",
    "ALaneThatWasEmptiedKeepsItsTurn": "test_44_a_lane_that_was_purged_has_no_arrears",
    "ALaneThatRestsIsNotStirred": "test_45_a_settlement_brings_its_lane_to_life",
    "AnotherRateLeavesTheTime": "test_42_a_raised_rate_holds_at_once",
    "ANewLaneGoesFirst": "test_44_lanes_that_come_anew_hold_up_no_other",
    "ARemovalStartsTurnsAnew": "test_44_removals_change_no_turn",
    "AckForgetsTheId": "test_26_a_known_id_is_confirmed_and_not_stored_again",
    "AnyReceiptEndsTheDelivery": "test_09_the_second_settlement_is_stale",
    "CloseDoesNotWake": "test_17_close_is_idempotent_frees_and_wakes",
    "CloseForgetsQueues": "test_05_acked_is_gone",
    "CloseKeepsHeld": "test_17_close_is_idempotent_frees_and_wakes",
    "CloseStopsAtADeletedQueue": "test_17_a_close_releases_the_rest_where_a_queue_was_deleted",
    "CloseTwiceFails": "test_17_close_is_idempotent_frees_and_wakes",
    "DeclaringAgainChangesNothing": "test_22_one_at_a_time_and_in_order_per_key",
    "DeclaringAgainEmpties": "test_01_declaring_again_loses_nothing",
    "DelayedComesEarly": "test_07_delayed_is_hidden_for_at_least_the_delay",
    "DeletedQueueComesBackWithItsMessages": "test_27_a_deleted_queue_is_gone_with_all_that_it_held",
    "DeletedQueueIsOnlyEmptied": "test_27_a_deleted_queue_is_gone_with_all_that_it_held",
    "DeletingLeavesWaitersWaiting": "test_deleting_wakes_whoever_waits_and_leaves_other_queues_alone",
    "DuplicateIsAnError": "test_26_a_known_id_is_confirmed_and_not_stored_again",
    "DuplicateStartsTheWindowAnew": "test_an_id_may_come_again_after_the_window",
    "DuplicatesWithinABatchAreStored": "test_a_duplicate_of_a_delayed_message",
    "FailedKeyIsOvertaken": "test_29_an_undeclared_queue_is_forgotten_and_stays_at_the_broker",
    "HeldMessagesTakeNoRoom": "test_23_a_full_queue_rejects_in_order_and_takes_back",
    "IdsOfAllQueuesAreOne": "test_ids_of_other_queues_are_not_known",
    "KeysOfBeforeAreOneLane": "test_43_a_queue_in_order_per_key_gets_lanes",
    "KeyIsIgnored": "test_22_one_at_a_time_and_in_order_per_key",
    "NackForgetsTheId": "test_29_an_undeclared_queue_is_forgotten_and_stays_at_the_broker",
    "NackIsLostWhenFull": "test_23_a_full_queue_rejects_in_order_and_takes_back",
    "NobodyIsWoken": "test_03_at_most_limit_and_an_empty_receive_waits",
    "PublisherIsNotIsolated": "test_what_the_publisher_changes_later_is_not_seen",
    "PurgeForgetsDelayed": "test_purge_removes_all_kinds_of_waiting_messages",
    "PurgeLeavesTheKeys": "test_41_purge_frees_keys",
    "ReplacesAHeldMessage": "test_40_a_held_message_is_not_replaced",
    "AReplacedMessageKeepsItsFailures": "test_40_a_replaced_retry_begins_afresh",
    "PurgeTakesHeld": "test_24_purge_removes_what_is_not_held",
    "QueuesAreMixed": "test_24_a_message_published_during_a_purge_survives_it",
    "ReceiverIsNotIsolated": "test_what_a_receiver_changes_is_not_seen",
    "RejectedIdIsKnown": "test_32_a_forced_message_changes_nothing_in_what_is_known",
    "ReleaseGoesToTheTail": "test_12_one_publishers_order_is_kept",
    "ReleaseIsLostWhenFull": "test_23_a_full_queue_rejects_in_order_and_takes_back",
    "UnknownQueueIsAKeyError": "test_13_an_undeclared_queue_is_not_found",
    "WakeUpIsLostWithItsReceiver": "test_a_cancelled_waiter_passes_its_message_on",
}
"""A case that fails for each; trying them all for each would take minutes."""


def noticed_in(mutant: Callable[..., MemoryDriver], *cases: str, timeout: float = 5.0) -> str:
    """The first of the cases that fails, or an empty text."""

    class Suite(DriverConformance):
        patience = 0.5
        case_timeout = timeout

        def make_driver(self, place: Path, clock: ShiftedClock) -> MemoryDriver:
            return mutant("mutant", clock=clock)

    for name in cases:
        run = getattr(Suite(), name)
        try:
            run()
        except Exception:
            return name
    return ""


@pytest.mark.parametrize("mutant", INNER, ids=lambda mutant: mutant.__name__)
def test_the_suite_notices(mutant: type[MemoryDriver]) -> None:
    name = NOTICED_BY[mutant.__name__]
    assert noticed_in(mutant, name) == name


def test_the_original_passes() -> None:
    """In the cases that notice a mutant; ``test_memory.py`` runs them all."""
    assert noticed_in(MemoryDriver, *sorted(set(NOTICED_BY.values())), timeout=60.0) == ""


def test_each_mutant_names_cases_that_exist() -> None:
    assert len(MUTANTS) >= 70
    assert [name for mutant in MUTANTS for name in mutant.noticed_by if not hasattr(DriverConformance, name)] == []
    assert all(
        mutant.noticed_by and (not mutant.needs or Capabilities().has(mutant.needs) is False) for mutant in MUTANTS
    )


@pytest.mark.parametrize("case", CASES)
def test_a_driver_with_a_store_passes_unbroken(case: str) -> None:
    found, how = noticed(SQLITE, Unbroken, [case])
    assert not found, how


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_suite_notices_it_on_a_driver_with_a_store(mutant: type[Mutant]) -> None:
    """The same for all drivers is ``make mutate``: it takes minutes."""
    found, how = noticed(SQLITE, mutant)
    if how.startswith("not applicable"):
        pytest.skip(how)
    assert found, how
