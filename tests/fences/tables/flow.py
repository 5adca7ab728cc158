"""Mutants of steps, groups and signals."""

from __future__ import annotations

from tests.fences.mutant import Mutant

_STEPS = ("properties/test_steps.py", "unit/app/test_steps.py")
_GROUPS = ("properties/test_groups.py", "unit/app/test_groups.py")
_SIGNALS = ("unit/app/test_waits.py", "properties/test_waits.py", "unit/app/test_wait_troubles.py")

FLOW = [
    Mutant(
        "a delivery without its lease goes on with its steps",
        "flow/own_record.py",
        "        if self._owner.lost:\n            raise self._fenced()\n        if self._owner.settled",
        "        if self._owner.settled",
        _STEPS,
    ),
    Mutant(
        "a settled message has more steps",
        "flow/own_record.py",
        '            raise invalid("the message is settled already: call its steps before")',
        "            pass",
        _STEPS,
    ),
    Mutant(
        "steps are taken over without what was recorded meanwhile",
        "flow/own_record.py",
        "ttl=self._ttl_of(record), version=version)",
        "ttl=self._ttl_of(record))",
        _STEPS,
    ),
    Mutant(
        "a step is recorded over those of another worker",
        "flow/own_record.py",
        "value, ttl=ttl, version=self._version)",
        "value, ttl=ttl)",
        _STEPS,
    ),
    Mutant(
        "the record of another worker is taken for the own one",
        "flow/own_record.py",
        "if found is None or found.value != value:",
        "if found is None:",
        _STEPS,
    ),
    Mutant(
        "after an interrupted write the record of another worker is used",
        "flow/own_record.py",
        "if found is None or record is None or record.owner != self._token:",
        "if found is None or record is None:",
        _STEPS,
    ),
    Mutant(
        "a delivery without its lease waits for its store",
        "flow/own_record.py",
        "                if self._owner.lost:\n                    raise self._fenced() from error\n",
        "",
        _STEPS,
    ),
    Mutant(
        "the end of a message deletes the steps of another delivery",
        "flow/own_record.py",
        "delete(self._key, version=self._version)",
        "delete(self._key)",
        _STEPS,
    ),
    Mutant(
        "the steps of a message that was settled too late are deleted",
        "consumers/jobs/steps.py",
        "if delivery is None or each.receipt in stale:",
        "if delivery is None:",
        _STEPS,
    ),
    Mutant(
        "a group begins again over its ended members",
        "flow/groups.py",
        "encode(group), ttl=group.lasts(now), version=0)",
        "encode(group), ttl=group.lasts(now))",
        _GROUPS,
    ),
    Mutant(
        "a group that is kept longer loses what its members wrote",
        "flow/groups.py",
        "kept, ttl=until - now, version=found.version)",
        "kept, ttl=until - now)",
        _GROUPS,
    ),
    Mutant(
        "a shard that is kept longer loses what its members wrote",
        "flow/groups.py",
        "found.value, ttl=ttl, version=found.version)",
        "found.value, ttl=ttl)",
        _GROUPS,
    ),
    Mutant(
        "a member that ends removes the end of another one",
        "flow/groups.py",
        "key, encode(after), ttl=group.lasts(self._now), version=0 if found is None else found.version\n",
        "key, encode(after), ttl=group.lasts(self._now)\n",
        _GROUPS,
    ),
    Mutant(
        "two members take the role of the last one at the same time",
        "flow/groups.py",
        "group_key(self._id), encode(changed), ttl=group.lasts(self._now), version=found.version\n",
        "group_key(self._id), encode(changed), ttl=group.lasts(self._now)\n",
        _GROUPS,
    ),
    Mutant(
        "a member takes the role of another one",
        "flow/groups.py",
        "            if getattr(group, role) not in (-1, self._number):\n                return None\n",
        "",
        _GROUPS,
    ),
    Mutant(
        "a failure of a group is announced again",
        "flow/groups.py",
        "if mine is None or mine.on_error is None or mine.is_failure_told:",
        "if mine is None or mine.on_error is None:",
        _GROUPS,
    ),
    Mutant(
        "a second signal replaces the first",
        "flow/signals.py",
        "_encoder.encode(signal), ttl=ttl, version=0)",
        "_encoder.encode(signal), ttl=ttl)",
        _SIGNALS,
    ),
]
