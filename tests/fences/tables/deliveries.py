"""Mutants of the leases of deliveries, of settling once, of results and of cancelling."""

from __future__ import annotations

from tests.fences.mutant import Mutant

DELIVERIES = [
    Mutant(
        "a lease that the broker reports as lost is kept",
        "consumers/fetching/keeper.py",
        "                elif receipt in holding.deliveries:  # else it was settled meanwhile\n"
        "                    holding.lose(due[receipt])",
        "",
        ("unit/consumers/test_consumer_losses.py::test_a_lost_lease_is_not_started_and_a_running_handler_sees_it",),
    ),
    Mutant(
        "a lease counts from the answer of its renewal",
        "consumers/fetching/keeper.py",
        "due[receipt].lease_until = now + lease",
        "due[receipt].lease_until = self._clock.monotonic() + lease",
        ("unit/consumers/test_keeper.py::test_a_renewed_lease_counts_from_the_request_and_not_from_its_answer",),
    ),
    Mutant(
        "a lost lease is renewed again",
        "consumers/fetching/keeper.py",
        "if not delivery.lost and delivery.lease_until - now < least_left",
        "if delivery.lease_until - now < least_left",
        ("unit/consumers/test_keeper.py::test_a_stale_one_is_lost_once",),
    ),
    Mutant(
        "the deliveries of a silent session stay its own",
        "consumers/fetching/keeper.py",
        "        holding.take_expired(due, now)\n",
        "",
        (
            "unit/consumers/test_keeper.py::test_a_session_that_was_silent_for_longer_than_its_brokers_patience_is_not_believed",
        ),
    ),
    Mutant(
        "a lease counts from the answer of its receive",
        "consumers/run.py",
        'lease_until = float("inf") if self.lease is None else asked_at + self.lease',
        'lease_until = float("inf") if self.lease is None else self._monotonic() + self.lease',
        (
            "unit/consumers/test_consumer_losses.py::test_a_message_that_was_longer_on_its_way_than_its_lease_is_not_started",
        ),
    ),
    Mutant(
        "a handler starts although its lease was reported as lost",
        "consumers/handling/executor.py",
        "if delivery.lost or delivery.lease_until <= now:",
        "if delivery.lease_until <= now:",
        ("unit/consumers/test_consumer_losses.py::test_a_lost_lease_is_not_started_and_a_running_handler_sees_it",),
    ),
    Mutant(
        "a handler starts although its lease is over",
        "consumers/handling/executor.py",
        "if delivery.lost or delivery.lease_until <= now:",
        "if delivery.lost:",
        ("unit/consumers/test_consumer_losses.py::test_a_buffered_message_whose_lease_ran_out_is_not_started",),
    ),
    Mutant(
        "a suspect starts that the broker has given to another worker",
        "consumers/handling/executor.py",
        "        return not stale\n",
        "        return True\n",
        ("unit/consumers/test_suspects.py::test_a_start_that_is_not_recorded_runs_nothing",),
    ),
    Mutant(
        "a message that could not be acked first is handled",
        "consumers/handling/executor.py",
        "        if self._auto_ack and not await self._prepare(delivery, worker):\n",
        "        if self._auto_ack and not await self._prepare(delivery, worker) and False:\n",
        ("unit/consumers/test_interrupting.py::test_auto_ack_runs_nothing_that_the_broker_has_not_let_go",),
    ),
    Mutant(
        "a stale ack counts as done",
        "consumers/settling/settler.py",
        "waiting.set_result(settlement.receipt not in untaken)",
        "waiting.set_result(True)",
        ("unit/consumers/test_settler.py::test_an_awaited_ack_says_whether_the_broker_took_it",),
    ),
    Mutant(
        "a delivery is settled twice",
        "consumers/delivery.py",
        "        if self.settled:\n            return False\n        self.settled = True\n",
        "        self.settled = True\n",
        ("unit/consumers/test_delivery.py::test_the_first_conclusion_wins",),
    ),
    Mutant(
        "a dropped delivery is not lost",
        "consumers/delivery.py",
        "            self.holder.drop(self)\n            self.lost = True\n",
        "            self.holder.drop(self)\n",
        ("e2e/test_transactions.py::test_who_lost_the_message_commits_nothing[sqlite]",),
    ),
    Mutant(
        "a handler that has returned settles its message",
        "consumers/delivery.py",
        '            raise HandlerError("released: the handler has returned", kind="Invalid", retryable=False)',
        "            pass",
        ("unit/consumers/test_delivery.py::test_after_the_return_of_the_handler_it_is_released",),
    ),
    Mutant(
        "a dead letter is published without the lease of its message",
        "consumers/settling/insisting.py",
        "            while write.is_late or not delivery.lost:\n",
        "            while True:\n",
        ("unit/consumers/test_settler.py::test_a_dead_letter_whose_lease_was_lost_is_let_go",),
    ),
    Mutant(
        "a dead letter is published although its lease was lost while the user's function ran",
        "consumers/settling/settler.py",
        "        if delivery.lost:\n            raise StaleReceiptError(",
        "        if False:\n            raise StaleReceiptError(",
        ("unit/consumers/test_give_up.py::test_a_message_whose_lease_is_lost_meanwhile_is_no_dead_letter",),
    ),
    Mutant(
        "a stale move is tried again",
        "consumers/settling/insisting.py",
        '                except StaleReceiptError:\n                    return "stale"\n',
        "",
        ("unit/consumers/test_handover.py::test_what_is_another_s_already_is_left_to_it",),
    ),
    Mutant(
        "a message whose move was stale is released",
        "consumers/settling/settler.py",
        '        if end == "stale":\n',
        '        if end == "":\n',
        ("unit/consumers/test_handover.py::test_what_is_another_s_already_is_left_to_it",),
    ),
    Mutant(
        "settlements are tried for longer than their leases",
        "consumers/settling/settler.py",
        'self._clock.monotonic() + self._queue.spec.lease if has_leases else float("inf")',
        'float("inf")',
        ("unit/consumers/test_settler.py::test_when_the_lease_must_be_over_it_gives_up_and_goes_on",),
    ),
    Mutant(
        "the progress of a message follows its end",
        "consumers/jobs/results.py",
        "            job.writing.cancel()\n            await asyncio.wait([job.writing])\n",
        "            pass\n",
        ("unit/app/test_results.py::test_a_progress_that_is_long_on_its_way_does_not_follow_the_end",),
    ),
    Mutant(
        "a cancelled message is noted over its start",
        "app/state/cancelling.py",
        'encode(JobRecord("cancelled", place.state.clock.time())), ttl=ttl, version=version)',
        'encode(JobRecord("cancelled", place.state.clock.time())), ttl=ttl)',
        ("unit/app/test_cancel.py::test_a_job_that_starts_at_the_same_moment_is_not_noted_as_cancelled",),
    ),
    Mutant(
        "a running or ended message is noted as cancelled",
        "app/state/cancelling.py",
        'if record is None or record.status == "waiting":',
        "if True:",
        ("unit/app/test_cancel.py::test_a_job_that_has_ended_stays_as_it_ended",),
    ),
    Mutant(
        "an ack that was committed is settled again",
        "consumers/jobs/handler_transaction.py",
        "                self._committed.add(each.received.receipt)\n",
        "",
        ("e2e/test_transactions.py::test_rows_messages_and_the_ack_commit_together[sqlite]",),
    ),
    Mutant(
        "a delivery that its transaction finds lost is not let go",
        "consumers/jobs/handler_transaction.py",
        "                run_in_loop(delivery.holder, lambda: _let_go(opened))\n",
        "",
        ("e2e/test_transactions.py::test_who_lost_the_message_commits_nothing[sqlite]",),
    ),
    Mutant(
        "a member is acked before its end",
        "consumers/delivery.py",
        "LATER if is_member(self.received) else ACK",
        "ACK",
        (
            "e2e/test_transaction_groups.py::"
            "test_a_worker_that_stops_after_the_commit_leaves_what_follows_to_the_next_one[sqlite]",
        ),
    ),
    Mutant(
        "a member that was lost commits",
        "consumers/jobs/handler_transaction.py",
        "settles=not opened.members",
        "settles=True",
        ("e2e/test_transaction_groups.py::test_a_member_that_was_lost_commits_nothing[sqlite]",),
    ),
    Mutant(
        "the committed work of a member is done again",
        "consumers/jobs/handler_transaction.py",
        "            elif found is not None:\n",
        "            elif False:\n",
        (
            "e2e/test_transaction_groups.py::"
            "test_a_worker_that_stops_after_the_commit_leaves_what_follows_to_the_next_one[sqlite]",
        ),
    ),
    Mutant(
        "a member that was left out of its commit counts as done",
        "consumers/jobs/handler_transaction.py",
        "            if all(each in left_out for each in members):\n",
        "            if False:\n",
        ("e2e/test_transaction_groups.py::test_the_members_of_a_batch_that_are_done_are_not_done_again[sqlite]",),
    ),
    Mutant(
        "a group that is begun again is taken for the one before",
        "consumers/jobs/handler_transaction.py",
        "{membership.token} ",
        "",
        ("e2e/test_transaction_groups.py::test_a_group_that_is_begun_again_after_its_end_does_its_work_again[sqlite]",),
    ),
    Mutant(
        "a member is taken for another one of its id",
        "consumers/jobs/handler_transaction.py",
        "{membership.number} ",
        "",
        ("e2e/test_transaction_groups.py::test_two_members_of_one_id_both_do_their_work[sqlite]",),
    ),
]
