"""Mutants of steps, groups and signals."""

from __future__ import annotations

from tests.fences.mutant import Mutant

FLOW = [
    Mutant(
        "a delivery without its lease goes on with its steps",
        "flow/steps.py",
        "        if self._owner.lost:\n            raise self._fenced()\n        if self._owner.settled",
        "        if self._owner.settled",
        ("unit/app/test_steps.py::test_a_delivery_that_has_lost_its_lease_begins_no_step",),
    ),
    Mutant(
        "a settled message has more steps",
        "flow/steps.py",
        '            raise invalid("the message is settled already: call its steps before")',
        "            pass",
        ("unit/app/test_steps.py::test_refusals",),
    ),
    Mutant(
        "steps are taken over without what was recorded meanwhile",
        "flow/steps.py",
        "ttl=self._ttl_of(record), version=version)",
        "ttl=self._ttl_of(record))",
        ("properties/test_steps.py::test_random_schedules",),
    ),
    Mutant(
        "a step is recorded over those of another worker",
        "flow/steps.py",
        "value, ttl=ttl, version=self._version)",
        "value, ttl=ttl)",
        ("properties/test_steps.py::test_random_schedules",),
    ),
    Mutant(
        "the record of another worker is taken for the own one",
        "flow/steps.py",
        "if found is None or found.value != value:",
        "if found is None:",
        ("properties/test_steps.py::test_random_schedules",),
    ),
    Mutant(
        "after an interrupted write the record of another worker is used",
        "flow/steps.py",
        "if found is None or record is None or record.owner != self._token:",
        "if found is None or record is None:",
        ("unit/app/test_steps.py::test_after_an_interrupted_write_a_delivery_learns_that_another_one_has_its_steps",),
    ),
    Mutant(
        "a delivery without its lease waits for its store",
        "flow/steps.py",
        "                if self._owner.lost:\n                    raise self._fenced() from error\n",
        "",
        ("unit/app/test_steps.py::test_a_delivery_that_has_lost_its_lease_does_not_wait_for_its_store",),
    ),
    Mutant(
        "the end of a message deletes the steps of another delivery",
        "flow/steps.py",
        "delete(self._key, version=self._version)",
        "delete(self._key)",
        ("unit/app/test_steps.py::test_the_end_of_a_message_leaves_the_steps_of_another_delivery",),
    ),
    Mutant(
        "the steps of a message that was settled too late are deleted",
        "consumers/jobs/steps.py",
        "if delivery is None or each.receipt in stale:",
        "if delivery is None:",
        ("unit/app/test_steps.py::test_a_message_that_is_settled_too_late_keeps_its_steps_for_the_next_delivery",),
    ),
    Mutant(
        "a group begins again over its ended members",
        "flow/groups.py",
        "encode(group), ttl=group.lasts(now), version=0)",
        "encode(group), ttl=group.lasts(now))",
        ("unit/app/test_groups.py::test_members_that_have_ended_count_when_a_group_is_started_again",),
    ),
    Mutant(
        "a group that is kept longer loses what its members wrote",
        "flow/groups.py",
        "kept, ttl=until - now, version=found.version)",
        "kept, ttl=until - now)",
        ("properties/test_groups.py::test_every_group_is_followed[3]",),
    ),
    Mutant(
        "a shard that is kept longer loses what its members wrote",
        "flow/groups.py",
        "found.value, ttl=ttl, version=found.version)",
        "found.value, ttl=ttl)",
        ("properties/test_groups.py::test_every_group_is_followed[3]",),
    ),
    Mutant(
        "a member that ends removes the end of another one",
        "flow/groups.py",
        "key, encode(after), ttl=group.lasts(self._now), version=0 if found is None else found.version\n",
        "key, encode(after), ttl=group.lasts(self._now)\n",
        ("properties/test_groups.py::test_every_group_is_followed[3]",),
    ),
    Mutant(
        "two members take the role of the last one at the same time",
        "flow/groups.py",
        "group_key(self._id), encode(changed), ttl=group.lasts(self._now), version=found.version\n",
        "group_key(self._id), encode(changed), ttl=group.lasts(self._now)\n",
        ("properties/test_groups.py::test_every_group_is_followed[3]",),
    ),
    Mutant(
        "a member takes the role of another one",
        "flow/groups.py",
        "            if getattr(group, role) not in (-1, self._number):\n                return None\n",
        "",
        ("properties/test_groups.py::test_every_group_is_followed[3]",),
    ),
    Mutant(
        "a failure of a group is announced again",
        "flow/groups.py",
        "if mine is None or mine.on_error is None or mine.is_failure_told:",
        "if mine is None or mine.on_error is None:",
        ("properties/test_groups.py::test_a_failure_is_told",),
    ),
    Mutant(
        "a second signal replaces the first",
        "flow/signals.py",
        "_encoder.encode(signal), ttl=ttl, version=0)",
        "_encoder.encode(signal), ttl=ttl)",
        ("unit/app/test_waits.py::test_a_signal_that_came_before_is_found",),
    ),
    Mutant(
        "a worker ends a member as done that was cancelled",
        "app/flow/groups.py",
        ", is_kept=not is_removed",
        "",
        ("unit/app/test_groups.py::test_a_message_that_a_worker_takes_just_before_its_removal_gives_then_or_on_error",),
    ),
    Mutant(
        "a message that was found is taken as removed",
        "state/cancelling.py",
        "count >= len(found)",
        "True",
        ("unit/app/test_groups.py::test_a_message_that_a_worker_takes_just_before_its_removal_gives_then_or_on_error",),
    ),
    Mutant(
        "a message that was not found is removed",
        "state/cancelling.py",
        "what.driver.remove(what.queue, found, places)",
        "what.driver.remove(what.queue, page)",
        (
            "unit/app/test_groups.py::"
            "test_a_message_that_a_worker_puts_back_just_before_the_removal_of_others_gives_on_error",
        ),
    ),
    Mutant(
        "a cancellation that was recorded waits for its on_error forever",
        "flow/groups.py",
        "CANCELED if shard.cancelled & bit else ended.error",
        "ended.error",
        ("unit/app/test_groups.py::test_a_cancellation_whose_on_error_cannot_be_published_is_ended_by_the_worker",),
    ),
]
