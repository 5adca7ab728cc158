"""Mutants of the leases and versions of batches."""

from __future__ import annotations

from tests.fences.mutant import Mutant

BATCHES = [
    Mutant(
        "the lease of a batch is never renewed",
        "dead/batches/batch_store.py",
        "        if self.clock.monotonic() - self._renewed > self._lease / 3 and not await self._hold():\n"
        "            raise HaltedError\n",
        "        return\n",
        ("unit/dead/batches/test_leases.py::test_a_running_batch_keeps_its_lease_however_long_it_takes",),
    ),
    Mutant(
        "the lost lease of a batch is not noticed",
        "dead/batches/batch_store.py",
        "and not await self._hold():\n            raise HaltedError",
        "and not await self._hold():\n            pass",
        ("unit/dead/batches/test_leases.py::test_a_batch_whose_lease_another_process_has_moves_no_more_letters",),
    ),
    Mutant(
        "a batch is driven by two processes",
        "dead/batches/batch_store.py",
        "        if not await self._hold():\n            return False\n",
        "        await self._hold()\n",
        ("unit/dead/batches/test_leases.py::test_a_process_that_was_stopped_sees_its_successor_while_it_waits",),
    ),
    Mutant(
        "a batch is written over what others have ordered",
        "dead/batches/batch_store.py",
        "encode(batch), ttl=ttl, version=version)",
        "encode(batch), ttl=ttl)",
        ("unit/dead/batches/test_leases.py::test_a_process_that_was_stopped_writes_nothing_over_its_successor",),
    ),
    Mutant(
        "a batch is written on for another runner",
        "dead/batches/batch_store.py",
        "                if found is None or found[0].runner != self._holder:\n"
        "                    raise HaltedError from None\n",
        "                assert found is not None\n",
        ("unit/dead/batches/test_leases.py::test_a_process_that_was_stopped_writes_nothing_over_its_successor",),
    ),
    Mutant(
        "a batch ignores what was ordered while it waits",
        "dead/batches/batch_store.py",
        "        if found is None or found[0].runner != self._holder:\n            raise HaltedError\n",
        "        assert found is not None\n",
        ("unit/dead/batches/test_leases.py::test_a_process_that_was_stopped_sees_its_successor_while_it_waits",),
    ),
    Mutant(
        "an undo takes letters that another batch has moved",
        "dead/batches/running.py",
        "mine = [each for each in page if each.headers.get(BATCH) == self._leased.batch.id]",
        "mine = list(page)",
        ("unit/dead/batches/test_leases.py::test_an_undo_leaves_letters_that_a_later_batch_has_moved",),
    ),
    Mutant(
        "a word to all processes is taken back although it was said again",
        "dead/batches/batch_store.py",
        "await self.store.delete(CONTROL + PLACE + id, version=version)",
        "await self.store.delete(CONTROL + PLACE + id)",
        ("unit/dead/batches/test_leases.py::test_a_word_to_all_processes_that_was_said_again_is_not_taken_back",),
    ),
]
