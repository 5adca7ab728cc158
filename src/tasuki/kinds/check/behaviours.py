"""Behaviours: the features of queues, their support by each driver, and the case that proves each."""

from __future__ import annotations

from typing import Literal, NamedTuple

from tasuki.contracts.driver import Capabilities

Cell = Literal["native", "emulated", "with a store", "refused"]


class Behaviour(NamedTuple):
    """``capability`` is what ``Capabilities.has`` must answer; empty: every driver is good for it."""

    name: str
    proof: str
    """The case of the conformance suite, or a test file where the suite has none."""
    capability: str = ""
    is_ours: bool = False
    """Done above the driver, the same for all."""
    substitute: str = ""
    """The capability with which Tasuki does it above a driver that lacks the first one."""

    def cell(self, capabilities: Capabilities) -> Cell:
        """``native``: by the broker; ``emulated``: by its driver or above it; ``refused``: by the check.

        ``with a store``: emulated where ``state:`` names the store of another driver.
        """
        if self.capability and not capabilities.has(self.capability):
            if self.substitute and capabilities.has(self.substitute):
                return "emulated"
            by_store = self.substitute == "store" or (self.capability == "store" and self.is_ours)
            return "with a store" if by_store else "refused"
        field = self.capability.partition(":")[0]
        return "emulated" if self.is_ours or field in capabilities.emulates else "native"


BEHAVIOURS = (
    Behaviour("confirmed outlives the process", "test_19_confirmed_messages_survive_a_restart", "multi_process"),
    Behaviour("several processes share a queue", "test_two_drivers_share_a_queue", "multi_process"),
    Behaviour("order of publishing", "test_12_one_publishers_order_is_kept", "ordered"),
    Behaviour("order per key", "test_22_one_at_a_time_and_in_order_per_key", "ordering_key"),
    Behaviour("delay", "test_07_delayed_is_hidden_for_at_least_the_delay", "native_delay"),
    Behaviour("priority", "test_21_higher_priority_comes_first", "native_priority"),
    Behaviour("attempts are counted", "test_08_attempts_rise_and_a_release_does_not_count", "counts_attempts"),
    Behaviour("leases", "test_11_extend_sets_the_lease_and_reports_stale_receipts", "leases"),
    Behaviour(
        "messages of a killed worker are back within 15 s",
        "test_61_a_killed_holder_is_seen_and_a_silent_one_keeps_its_messages",
        "sees_deaths",
    ),
    Behaviour("duplicates by id", "test_26_a_known_id_is_confirmed_and_not_stored_again", "dedup"),
    Behaviour("`max_length`, reject", "test_23_a_full_queue_rejects_in_order_and_takes_back", "max_length"),
    Behaviour("`max_length`, block", "test_a_full_queue_is_waited_for", "max_length", is_ours=True),
    Behaviour("time to live", "test_what_has_expired_is_dead_lettered", is_ours=True),
    Behaviour("retry with backoff", "test_what_always_fails_is_tried_five_times_and_dead_lettered", is_ours=True),
    Behaviour("dead letters", "test_each_outcome_ends_as_it_says", is_ours=True),
    Behaviour("redrive", "test_a_redriven_dead_letter_starts_anew", is_ours=True),
    Behaviour("request and reply", "test_each_request_gets_its_own_result", is_ours=True),
    Behaviour("signed messages", "test_a_forged_message_is_not_handled", is_ours=True),
    Behaviour(
        "one outcome for each message of a batch",
        "test_publishing_while_the_broker_is_away_is_decided_for_each_message",
        is_ours=True,
    ),
    Behaviour(
        "a blocked event loop keeps its messages",
        "test_a_handler_that_blocks_the_loop_keeps_its_messages",
        is_ours=True,
    ),
    Behaviour("exact depth", "test_depth_is_exact", "exact_depth"),
    Behaviour("peek", "test_24_peek_shows_without_receiving", "peek"),
    Behaviour("find messages by id", "test_51_find_shows_without_receiving", "find"),
    Behaviour("locate messages by id, held ones too", "test_59_a_message_is_located_wherever_it_is", "locate"),
    Behaviour("count letters by cause, however many", "test_52_causes_are_counted", "causes"),
    Behaviour("purge", "test_24_purge_removes_what_is_not_held", "purge"),
    Behaviour("remove messages by id", "test_37_remove_takes_what_it_names", "remove"),
    Behaviour("end the delay of a message", "test_49_a_delay_ends", "expedite"),
    Behaviour("transfer waiting messages, nothing held", "test_50_a_transfer_takes_out_and_stores", "transfer"),
    Behaviour("cancel a message that waits or runs", "tests/faults/test_cancel.py", "store", is_ours=True),
    Behaviour("status, result and progress of a message", "tests/unit/app/test_results.py", "store", is_ours=True),
    Behaviour("steps that are not done again", "tests/faults/test_steps.py", "store", is_ours=True),
    Behaviour("sleep, wait for a signal", "tests/faults/test_waits.py", "store", is_ours=True),
    Behaviour("a signal wakes its message at once", "tests/unit/app/test_waits.py", "expedite", is_ours=True),
    Behaviour("chains and groups", "tests/faults/test_groups.py", "store", is_ours=True),
    Behaviour("`peek` shows the last error", "test_38_peek_shows_the_last_error_and_its_time", "keeps_errors"),
    Behaviour("delete a queue", "test_27_a_deleted_queue_is_gone_with_all_that_it_held", "delete"),
    Behaviour("pause, resume and scale while workers run", "tests/e2e/test_pausing.py", "store", is_ours=True),
    Behaviour("dead letter or reply and ack in one step", "test_36_a_stale_receipt_stores_nothing", "move"),
    Behaviour("one waiting message per key", "test_39_a_waiting_message_keeps_its_key", "unique:pending"),
    Behaviour("one message per key until it is done", "test_39_a_running_message_keeps_its_key", "unique:running"),
    Behaviour(
        "one message per key and window (throttle); by a store: not atomic",
        "tests/faults/test_uniques.py",
        "unique:window",
        substitute="store",
    ),
    Behaviour("replace the waiting message", "test_40_replace_changes_the_waiting_message", "unique:replace"),
    Behaviour("delay it again (debounce)", "test_40_extend_delays_again", "unique:extend"),
    Behaviour("`limit`: messages in a time", "tests/faults/test_limits.py", "limits", substitute="store"),
    Behaviour("`limit`: messages at once", "tests/faults/test_limits.py", "limits", substitute="store"),
    Behaviour("`limit` for each value of a key", "test_43_a_full_lane_holds_up_no_other", "limits"),
    Behaviour("turns among the values of a key (`fair`)", "test_44_lanes_take_turns", "limits"),
    Behaviour("a store for state (`state:`)", "test_31_one_name_is_one_store", "store"),
    Behaviour("publish in the caller's transaction", "tests/e2e/test_outbox.py", "publish_within"),
    Behaviour("handle in one transaction with the ack", "test_46_the_commit_settles", "settle_within"),
    Behaviour("remember the keys of finished work", "test_48_a_key_is_claimed_once", "settle_within"),
)

DURABILITY = {
    "memory": "nothing outlives the process",
    "sqlite": "`power` with `synchronous: full`, the default; `broker` with `normal`",
    "amqp": "`power` with quorum queues, the default; `broker` with classic ones",
    "redis": "`power` with `appendfsync always`; `broker` with another `appendfsync`; less without an append-only file",
    "sqs": "`node`, as Amazon keeps every message on several machines",
    "postgres": "`power` as it comes; `node` with a synchronous standby; less with `synchronous_commit` or `fsync` off",
    "nats": "`broker`; `power` with `sync_interval: always`, and `server_sync: always` here; `node` with 3 `replicas`",
}
"""Which durability a driver gives when, by short name; for people."""
