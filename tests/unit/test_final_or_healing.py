"""The table of errors in docs/semantics.md: each cell has a test that shows it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NONE = "\N{EN DASH}"
"""In a cell: there is no such error."""

FINAL = "unit/app/test_final_errors.py"
STORES = "unit/app/test_idempotency_stores.py"
INSISTING = "unit/consumers/settling/test_insisting.py"
LETTERS = "unit/consumers/settling/test_insisting.py"
SETTLER = "unit/consumers/test_settler.py"
REPLIES = "unit/consumers/test_replies.py"
WINDOWS = "unit/queues/test_unique.py"
CANCELLING = "unit/consumers/jobs/test_cancelling.py"
ATTEMPTS = "unit/consumers/test_attempts.py"

DEFECT = f"{FINAL}::test_a_defect_is_tried_for_a_minute_and_keeps_no_message_for_ever"
FOLLOWS = f"{FINAL}::test_what_follows_comes_once_its_queue_is_back"
LATE = f"{FINAL}::test_a_member_that_was_acked_early_is_ended_once_its_store_is_back"
RENEWED = f"{STORES}::test_a_renewal_of_a_claim_that_fails_is_followed_by_another_one"
UNRECORDED = f"{STORES}::test_a_key_that_may_not_be_recorded_is_an_error_in_the_log_and_its_work_is_done"
UNCLAIMED = f"{STORES}::test_a_claim_that_may_not_be_written_is_a_failed_attempt"
UNREAD = f"{CANCELLING}::test_a_strict_queue_starts_nothing_that_it_cannot_check"
DROPPED = f"{ATTEMPTS}::test_a_store_that_is_away_delays_nothing_and_is_counted"
GIVEN_UP = f"{FINAL}::test_the_reply_of_a_message_that_is_given_up_is_tried_once"

TESTS: dict[str, tuple[str, str, str]] = {
    "ack, nack, release": (
        f"{SETTLER}::test_while_the_broker_is_away_it_tries_again",
        f"{SETTLER}::test_what_is_refused_for_good_is_not_tried_again",
        f"{SETTLER}::test_while_the_broker_is_away_it_tries_again",
    ),
    "result of a queue with `result`": (
        f"{FINAL}::test_a_store_that_takes_no_writes_is_not_ready_and_back_within_two_seconds",
        f"{FINAL}::test_a_result_that_may_not_be_kept_is_an_error_in_the_log",
        DEFECT,
    ),
    "end of a member of a group or chain": (
        f"{FINAL}::test_a_blip_of_the_store_of_a_group_delays_what_follows_for_less_than_a_second",
        f"{FINAL}::test_messages_whose_group_no_state_knows_are_acked_and_hold_up_no_other",
        DEFECT,
    ),
    "a member whose home queue was renamed": (
        f"{FINAL}::test_a_renamed_home_queue_does_not_stop_what_follows",
        f"{FINAL}::test_messages_whose_group_no_state_knows_are_acked_and_hold_up_no_other",
        "",
    ),
    "result of a member that its store does not take": (
        f"{FINAL}::test_a_blip_of_the_store_of_a_group_delays_what_follows_for_less_than_a_second",
        f"{FINAL}::test_a_result_that_the_store_of_its_group_does_not_take_is_an_error",
        "",
    ),
    "`then`": (FOLLOWS, f"{FINAL}::test_a_then_that_is_too_large_for_its_queue_is_an_error", DEFECT),
    "`on_error`": (FOLLOWS, f"{FINAL}::test_an_on_error_that_cannot_be_published_is_an_error_in_the_log", DEFECT),
    "result of a message that was acked early, end of a member with `auto_ack`": (
        LATE,
        f"{FINAL}::test_the_end_of_an_acked_message_that_may_not_be_written_is_an_error_in_the_log",
        DEFECT,
    ),
    "publish of a message with `then` or `on_error`": (
        f"{FINAL}::test_a_repeated_publish_that_is_rejected_leaves_the_record_of_the_first_one",
        f"{FINAL}::test_the_record_of_a_publish_that_was_rejected_goes_unless_another_publish_relies_on_it",
        "",
    ),
    "reply": (
        f"{REPLIES}::test_a_reply_that_cannot_be_published_now_keeps_the_request",
        f"{REPLIES}::test_a_reply_queue_that_refuses_for_good_does_not_keep_the_request",
        DEFECT,
    ),
    "reply of a message that is given up": (GIVEN_UP, GIVEN_UP, GIVEN_UP),
    "dead letter": (
        f"{SETTLER}::test_a_dead_letter_that_is_not_taken_is_kept_until_it_is",
        f"{LETTERS}::test_a_letter_that_no_queue_takes_leaves_its_place_to_other_messages",
        f"{SETTLER}::test_a_dead_letter_that_is_not_taken_is_kept_until_it_is",
    ),
    "claim of an idempotency key": (
        f"{STORES}::test_a_key_that_cannot_be_claimed_is_postponed_and_no_attempt_is_counted", UNCLAIMED, UNCLAIMED,
    ),
    "record of a key as done": (
        f"{STORES}::test_a_store_that_fails_for_three_seconds_after_the_handler_lets_nothing_run_twice",
        UNRECORDED,
        UNRECORDED,
    ),
    "renewal of a claim": (RENEWED, RENEWED, RENEWED),
    "key of a unique window in a store": (
        f"{WINDOWS}::test_a_store_that_is_away_rejects", f"{WINDOWS}::test_without_a_store_it_is_refused", "",
    ),
    "whether a message is cancelled (`cancel: strict`)": (UNREAD, UNREAD, UNREAD),
    "attempt record": (DROPPED, DROPPED, f"{ATTEMPTS}::test_a_defect_of_the_store_keeps_no_letter"),
}  # fmt: skip
"""By row of the page: the tests of its cells."""


def rows() -> dict[str, list[str]]:
    """The cells of the table, by the write."""
    page = (ROOT / "docs/semantics.md").read_text()
    _, _, section = page.partition("## Errors after the handler\n")
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["write", "may heal", "final", "defect"]
    return {name: rest for name, *rest in cells[2:]}


def test_each_row_of_the_page_has_tests_and_each_test_a_row() -> None:
    assert list(rows()) == list(TESTS)


def test_each_cell_has_a_test() -> None:
    for name, cells in rows().items():
        assert [cell != NONE for cell in cells] == [bool(test) for test in TESTS[name]], name


def test_each_test_exists() -> None:
    for place in sorted({test for tests in TESTS.values() for test in tests if test}):
        file, _, name = place.partition("::")
        source = (ROOT / "tests" / file).read_text()
        assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), place
