"""Mutants of the signs by which a dead process is seen: silence, a lost connection, a judge that stood long."""

from __future__ import annotations

from tests.fences.mutant import Mutant

_REDIS, _NATS = "faults/redis/test_dead_processes.py", "faults/nats/test_dead_processes.py"

DEATHS = [
    Mutant(
        "a lease is renewed too late to show that its process lives",
        "consumers/fetching/keeper.py",
        "return min(self.lease, SILENCE) if self.queue.driver.capabilities.sees_silence else self.lease",
        "return self.lease",
        ("unit/consumers/test_keeper.py::test_where_a_death_is_seen_by_silence_a_lease_is_renewed_three_times_in_it",),
    ),
    Mutant(
        "a process that has just subscribed judges others at Redis",
        "drivers/redis/receiving/receiving.py",
        "silence = 0 if stood is None or stood < SILENCE else microseconds(SILENCE)",
        "silence = microseconds(SILENCE)",
        (f"{_REDIS}::test_a_process_that_has_just_subscribed_does_not_judge",),
    ),
    Mutant(
        "a process without a subscription is taken for dead at Redis",
        "drivers/redis/receiving/receiving.py",
        """{'' if stood is None else HEARS}""",
        "{HEARS}",
        (f"{_REDIS}::test_a_process_without_a_subscription_when_it_received_is_not_judged",),
    ),
    Mutant(
        "a lost subscription is not made again by a renewal at Redis",
        "drivers/redis/driver.py",
        "            self._receiver.keep_hearing(self._session.place_of_deliveries(queue))",
        "            pass",
        (f"{_REDIS}::test_a_renewal_after_a_lost_connection_subscribes_again",),
    ),
    Mutant(
        "a process that does not answer is taken for dead at NATS",
        "drivers/nats/records/lines.py",
        "if None in answers or (NO_RESPONDERS in answers and is_young):",
        "if NO_RESPONDERS in answers and is_young:",
        (f"{_NATS}::test_a_suspended_process_keeps_its_message_and_settles_it",),
    ),
    Mutant(
        "a process that has just connected judges others at NATS",
        "drivers/nats/records/lines.py",
        "if None in answers or (NO_RESPONDERS in answers and is_young):",
        "if None in answers:",
        (f"{_NATS}::test_a_process_that_has_just_connected_does_not_judge",),
    ),
    Mutant(
        "a process that cannot be asked is taken for dead at NATS",
        "drivers/nats/records/lines.py",
        "if any(not report.has_line and not report.is_old(now) for report in others.values()):",
        "if False:",
        (f"{_NATS}::test_a_process_that_cannot_be_asked_keeps_its_message_for_the_lease",),
    ),
    Mutant(
        "a message that a living process holds is handed over at NATS",
        "drivers/nats/receiving/admission.py",
        "kept = {each for each in kept if now - since.setdefault(each, now) < rest}",
        "kept = {each for each in kept if now < since.get(each, now)}",
        (f"{_NATS}::test_a_silent_process_keeps_its_message_until_its_connection_is_gone",),
    ),
]
