"""Mutants of the leases and versions of batches."""

from __future__ import annotations

from tests.fences.mutant import Mutant

_BATCHES = ("unit/workbench/batches/test_leases.py", "unit/workbench/batches/test_verbs.py")

BATCHES = [
    Mutant(
        "the lease of a batch is never renewed",
        "workbench/batches/driving.py",
        "        if self.clock.monotonic() - self._renewed > self._lease / 3 and not await self._hold(self.batch.id):\n"
        "            raise HaltedError\n",
        "        return\n",
        _BATCHES,
    ),
    Mutant(
        "the lost lease of a batch is not noticed",
        "workbench/batches/driving.py",
        "and not await self._hold(self.batch.id):\n            raise HaltedError",
        "and not await self._hold(self.batch.id):\n            pass",
        _BATCHES,
    ),
    Mutant(
        "a batch is driven by two processes",
        "workbench/batches/driving.py",
        "        if not await self._hold(id):\n            return False\n",
        "        await self._hold(id)\n",
        _BATCHES,
    ),
    Mutant(
        "a batch is written over what others have ordered",
        "workbench/batches/shelf.py",
        "encode(batch), ttl=ttl, version=version)",
        "encode(batch), ttl=ttl)",
        _BATCHES,
    ),
    Mutant(
        "a batch is written on for another runner",
        "workbench/batches/driving.py",
        "                if found is None or found[0].runner != self._holder:\n"
        "                    raise HaltedError from None\n",
        "                assert found is not None\n",
        _BATCHES,
    ),
    Mutant(
        "a batch ignores what was ordered while it waits",
        "workbench/batches/driving.py",
        "        if found is None or found[0].runner != self._holder:\n            raise HaltedError\n",
        "        assert found is not None\n",
        _BATCHES,
    ),
    Mutant(
        "an undo takes letters that another batch has moved",
        "workbench/batches/ways/undoing.py",
        "mine = [each for each in page if each.headers.get(BATCH) == self._driving.batch.id]",
        "mine = list(page)",
        _BATCHES,
    ),
    Mutant(
        "a word to all processes is taken back although it was said again",
        "workbench/batches/shelf.py",
        "await self.store.delete(CONTROL + PLACE + id, version=version)",
        "await self.store.delete(CONTROL + PLACE + id)",
        _BATCHES,
    ),
]
