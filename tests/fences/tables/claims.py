"""Mutants of the claims of idempotency keys."""

from __future__ import annotations

from tests.fences.mutant import Mutant

_ONCE = ("properties/test_claims.py::test_no_write_of_a_claim_takes_anything_from_another_delivery",)

CLAIMS = [
    Mutant(
        "two deliveries claim a key at the same time",
        "consumers/jobs/idempotent.py",
        "                self._version = await store.put(self._claim.place, running, ttl=self._lasts, version=version)",
        "                self._version = await store.put(self._claim.place, running, ttl=self._lasts)",
        _ONCE,
    ),
    Mutant(
        "a key in flight is claimed by another message",
        "consumers/jobs/idempotent.py",
        "if not record.is_done and not record.is_held_for(self._message, self._attempt):",
        "if False:",
        _ONCE,
    ),
    Mutant(
        "a claim is not renewed",
        "consumers/jobs/idempotent.py",
        "                await self._keep(store)\n",
        "                pass\n",
        ("unit/app/test_idempotency.py::test_what_is_in_flight_elsewhere_is_postponed_without_an_attempt",),
    ),
    Mutant(
        "a renewal of a claim undoes its end",
        "consumers/jobs/idempotent.py",
        "if store is not None and not self.is_over:",
        "if store is not None:",
        _ONCE,
    ),
    Mutant(
        "a renewal takes a claim back from another delivery",
        "consumers/jobs/idempotent.py",
        "            version = await store.put(self._claim.place, running, ttl=self._lasts, version=self._version)\n",
        "            version = await store.put(self._claim.place, running, ttl=self._lasts)\n",
        _ONCE,
    ),
    Mutant(
        "a renewal that met another delivery claims the key again",
        "consumers/jobs/idempotent.py",
        "                self.is_over = True\n            if self.is_over:\n                return\n",
        "                pass\n",
        _ONCE,
    ),
    Mutant(
        "a claim that has ended is renewed over that of another delivery",
        "consumers/jobs/idempotent.py",
        "            version = await store.put(self._claim.place, running, ttl=self._lasts, version=version)\n"
        "        self._version",
        "            version = await store.put(self._claim.place, running, ttl=self._lasts)\n        self._version",
        _ONCE,
    ),
    Mutant(
        "a delivery whose claim was taken over records its end",
        "consumers/jobs/idempotent.py",
        "value, ttl=ttl, version=version)",
        "value, ttl=ttl)",
        _ONCE,
    ),
    Mutant(
        "a delivery records its end over that of another one",
        "consumers/jobs/idempotent.py",
        "        if found is not None and decode(found.value).owner != self._owner:\n            raise self._taken()\n",
        "",
        _ONCE,
    ),
    Mutant(
        "a delivery frees the claim of another one",
        "consumers/jobs/idempotent.py",
        "delete(self._claim.place, version=version)",
        "delete(self._claim.place)",
        _ONCE,
    ),
]
