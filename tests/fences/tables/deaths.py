"""Mutants of the signs by which a dead process is seen: silence, a lost connection, a judge that stood long."""

from __future__ import annotations

from tests.fences.mutant import Mutant

_REDIS, _NATS = "faults/redis/test_dead_processes.py", "faults/nats/test_dead_processes.py"

DEATHS = [
    Mutant(
        "a lease is renewed too late to show that its process lives",
        "consumers/fetching/keeper.py",
        'return min(self.lease, SILENCE) if self.queue.driver.capabilities.has("sees_silence") else self.lease',
        "return self.lease",
        ("unit/consumers/test_keeper.py::test_where_a_death_is_seen_by_silence_a_lease_is_renewed_three_times_in_it",),
    ),
    Mutant(
        "a process that has just subscribed judges others at Redis",
        "drivers/redis/receiving.py",
        "(microseconds(SILENCE), int(stood >= SILENCE))",
        "(microseconds(SILENCE), 1)",
        (f"{_REDIS}::test_a_process_that_has_just_subscribed_does_not_judge",),
    ),
    Mutant(
        "a process without a subscription is taken for dead at Redis",
        "drivers/redis/receiving.py",
        """{'' if stood is None else HEARS}""",
        "{HEARS}",
        (f"{_REDIS}::test_a_process_without_a_subscription_when_it_received_is_not_judged",),
    ),
    Mutant(
        "a lost subscription is not made again at Redis",
        "drivers/redis/listening.py",
        "            self._hear_again(found.where)",
        "            pass",
        (f"{_REDIS}::test_a_silent_process_that_has_lost_its_connection_hears_again_and_keeps_its_message",),
    ),
    Mutant(
        "a process that does not answer is taken for dead at NATS",
        "drivers/nats/records/receivers.py",
        "self._silent |= {who: moment for who, answer in answers.items() if answer is None}",
        "self._silent |= {}",
        (f"{_NATS}::test_a_suspended_process_keeps_its_message_and_settles_it",),
    ),
    Mutant(
        "a process that has just connected judges others at NATS",
        "drivers/nats/records/receivers.py",
        "bool(silent) or (is_young and bool(gone))",
        "bool(silent)",
        (f"{_NATS}::test_a_process_that_has_just_connected_does_not_judge",),
    ),
    Mutant(
        "a process that cannot be asked is taken for dead at NATS",
        "drivers/nats/records/receivers.py",
        "if who in self._silent or not (report.has_line or report.is_old(now))",
        "if who in self._silent",
        (f"{_NATS}::test_a_process_that_cannot_be_asked_keeps_its_message_for_the_lease",),
    ),
    Mutant(
        "a message that a living process holds is handed over at NATS",
        "drivers/nats/receiving/admission.py",
        "each in said.held or self._table.has(each, self._clock.monotonic())",
        "self._table.has(each, self._clock.monotonic())",
        (f"{_NATS}::test_a_silent_process_keeps_its_message_until_its_connection_is_gone",),
    ),
    Mutant(
        "a process takes the message that it holds itself at NATS",
        "drivers/nats/receiving/admission.py",
        "each in said.held or self._table.has(each, self._clock.monotonic())",
        "each in said.held",
        (f"{_NATS}::test_a_process_does_not_take_the_message_that_it_holds_itself",),
    ),
    Mutant(
        "one question without an answer shows a death at NATS",
        "drivers/nats/records/receivers.py",
        "if not is_young and (new :=",
        "if False and (new :=",
        (f"{_NATS}::test_a_question_while_a_connection_is_made_again_takes_nothing",),
    ),
]
